import { say } from './rig.js';

/** The measurements of one run of a competitor. */
export interface Sample {
  seconds: number;
  /** Copied rows. */
  entities?: number;
  /** Size of the CSV, dump or archive. */
  bytes?: number;
  /** The worker's peak resident memory. */
  peakBytes?: number;
  /** Answered status requests. */
  answersPerSecond?: number;
}

/** The summary of a competitor's counted runs. */
export interface Summary {
  /** The median. */
  seconds: number;
  fastest: number;
  slowest: number;
  /** At the median. */
  entitiesPerSecond?: number;
  bytes?: number;
  /** The maximum. */
  peakBytes?: number;
}

/** Collects the samples of a benchmark and the reasons for missing ones. */
export class Results {
  private readonly samples = new Map<string, Sample[]>();
  private readonly reasons = new Map<string, string>();

  add(name: string, sample: Sample): void {
    this.samples.set(name, [...(this.samples.get(name) ?? []), sample]);
  }

  /** Marks a competitor as not measured, even if there are samples of it. */
  leaveOut(name: string, reason: string): void {
    this.reasons.set(name, reason);
  }

  /** The missing measurements and their reasons, one a line. */
  leftOut(): string[] {
    return [...this.reasons].map(([name, reason]) => `${name}: ${reason}`);
  }

  /** All competitors, in the order of their first samples. */
  all(): { name: string; samples: Sample[]; summary: Summary }[] {
    return [...this.samples].map(([name, samples]) => ({ name, samples, summary: summarise(samples) }));
  }

  /** The summary of a competitor. @returns undefined if it was not measured */
  of(name: string): Summary | undefined {
    const samples = this.samples.get(name);
    return samples === undefined || this.reasons.has(name) ? undefined : summarise(samples);
  }
}

function summarise(samples: Sample[]): Summary {
  const times = samples.map(({ seconds }) => seconds);
  const seconds = median(times);
  const entities = samples.flatMap((sample) => sample.entities ?? []);
  const bytes = samples.flatMap((sample) => sample.bytes ?? []);
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

/** The median. */
function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const [low = NaN, high = low] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return (low + high) / 2;
}

export interface Competitor {
  name: string;
  /** Does the work once, cleans up, and gives the time of the work alone. */
  run: () => Promise<Sample>;
}

/**
 * Runs the competitors in turns, so that a slow phase of the machine affects all of them. The first run of each is not
 * counted: it warms caches and compiles code.
 */
export async function takeTurns(competitors: Competitor[], rounds: number, results: Results): Promise<void> {
  for (let round = 0; round <= rounds; round++)
    for (const { name, run } of competitors) {
      const sample = await run();
      if (round > 0) results.add(name, sample);
      say(
        `${round === 0 ? 'not counted' : `round ${round} of ${rounds}`}: ${name} ${sample.seconds.toFixed(2)} s`,
      );
    }
}
