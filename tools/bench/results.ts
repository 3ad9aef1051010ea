/** What one run of a competitor gave. */
export interface Sample {
  seconds: number;
  /** Rows that were copied. */
  entities?: number;
  /** Of CSV, dump or archive. */
  bytes?: number;
  /** The most that the worker had resident. */
  peakBytes?: number;
  /** Of the watchers' requests. */
  answersPerSecond?: number;
}

/** How a competitor did over all its counted runs. */
export interface Summary {
  /** The median. */
  seconds: number;
  fastest: number;
  slowest: number;
  /** At the median. */
  entitiesPerSecond?: number;
  bytes?: number;
  /** The highest of all. */
  peakBytes?: number;
}

/** Collects the samples of a run, and what it had to leave out. */
export class Results {
  private readonly samples = new Map<string, Sample[]>();
  private readonly reasons = new Map<string, string>();

  add(name: string, sample: Sample): void {
    this.samples.set(name, [...(this.samples.get(name) ?? []), sample]);
  }

  /** What is left out counts as not measured, whatever samples there are of it. */
  leaveOut(name: string, reason: string): void {
    this.reasons.set(name, reason);
  }

  /** Lines for the readers of the table. */
  leftOut(): string[] {
    return [...this.reasons].map(([name, reason]) => `${name}: ${reason}`);
  }

  /** In the order of their first samples. */
  all(): { name: string; samples: Sample[]; summary: Summary }[] {
    return [...this.samples].map(([name, samples]) => ({ name, samples, summary: summarise(samples) }));
  }

  /** @returns undefined for what was not measured */
  of(name: string): Summary | undefined {
    const samples = this.samples.get(name);
    return samples === undefined || this.reasons.has(name) ? undefined : summarise(samples);
  }
}

function summarise(samples: Sample[]): Summary {
  const times = samples.map(({ seconds }) => seconds);
  const seconds = median(times);
  const entities = samples.flatMap(({ entities }) => entities ?? []);
  const bytes = samples.flatMap(({ bytes }) => bytes ?? []);
  const peaks = samples.flatMap(({ peakBytes }) => peakBytes ?? []);
  return {
    seconds,
    fastest: Math.min(...times),
    slowest: Math.max(...times),
    ...(entities.length > 0 && { entitiesPerSecond: median(entities) / seconds }),
    ...(bytes.length > 0 && { bytes: median(bytes) }),
    ...(peaks.length > 0 && { peakBytes: Math.max(...peaks) }),
  };
}

/** The middle value, or the mean of the two in the middle. */
function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = NaN, high = low] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return (low + high) / 2;
}
