/** The rate covers this many milliseconds. */
const WINDOW_MS = 15_000;
/** A shorter time gives no rate. */
const SHORTEST_MS = 1_000;

/** Measures the rate of progress over the last seconds. */
export class Meter {
  private readonly samples: { at: number; done: number }[] = [];

  /** @param at milliseconds of a monotonic clock */
  add(done: number, at: number): void {
    // Another attempt starts from 0 at another rate.
    if (done < (this.samples.at(-1)?.done ?? 0)) this.samples.length = 0;
    this.samples.push({ at, done });
    // Keeps one sample that is as old as the window.
    while ((this.samples[1]?.at ?? Infinity) <= at - WINDOW_MS) this.samples.shift();
  }

  /** The rate per second; undefined during the first second. */
  get rate(): number | undefined {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (first === undefined || last === undefined || last.at - first.at < SHORTEST_MS) return undefined;
    return ((last.done - first.done) / (last.at - first.at)) * 1_000;
  }

  /** Milliseconds until `total` is done at this rate; undefined if there is no rate or no progress. */
  left(total: number): number | undefined {
    const { rate } = this;
    const done = this.samples.at(-1)?.done ?? 0;
    return rate === undefined || rate <= 0 ? undefined : (Math.max(0, total - done) / rate) * 1_000;
  }
}
