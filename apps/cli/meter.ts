/** How far the rate looks back: milliseconds. */
const WINDOW_MS = 15_000;
/** In less nothing can be said of it. */
const SHORTEST_MS = 1_000;

/** How fast something goes, by what was done of it lately. */
export class Meter {
  private readonly samples: { at: number; done: number }[] = [];

  /** @param at milliseconds of a clock that only goes forward */
  add(done: number, at: number): void {
    // Another attempt begins anew, and at a rate of its own.
    if (done < (this.samples.at(-1)?.done ?? 0)) this.samples.length = 0;
    this.samples.push({ at, done });
    // The first one that stays is the last one that is as old as the window.
    while ((this.samples[1]?.at ?? Infinity) <= at - WINDOW_MS) this.samples.shift();
  }

  /** So many a second; undefined until it can be told. */
  get rate(): number | undefined {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (first === undefined || last === undefined || last.at - first.at < SHORTEST_MS) return undefined;
    return ((last.done - first.done) / (last.at - first.at)) * 1_000;
  }

  /** Milliseconds until `total` is done at this rate; undefined where it stands still, or cannot be told. */
  left(total: number): number | undefined {
    const { rate } = this;
    const done = this.samples.at(-1)?.done ?? 0;
    return rate === undefined || rate <= 0 ? undefined : (Math.max(0, total - done) / rate) * 1_000;
  }
}
