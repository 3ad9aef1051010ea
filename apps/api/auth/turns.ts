import { TooManyRequests } from '../http/reason.js';

/** Has few do something costly at once, lets some wait for their turn, and sends the others away. */
export class Turns {
  private taken = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly atOnce: number,
    private readonly mayWait: number,
  ) {}

  /** @throws TooManyRequests when too many wait already; what the work fails with */
  async take<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.taken < this.atOnce) this.taken++;
    else if (this.waiting.length < this.mayWait)
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    else throw new TooManyRequests('Too many log in at this moment. Try again in a second.', 1);
    try {
      return await work();
    } finally {
      // Whoever is next takes the place over, so that nobody can come in between.
      const next = this.waiting.shift();
      if (next === undefined) this.taken--;
      else next();
    }
  }
}
