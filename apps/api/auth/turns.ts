/** Somebody who waits for a turn. */
interface Waiting {
  party: string;
  begin: () => void;
  sendAway: (reason: NoTurn) => void;
}

/** Too many wait already. Nothing was done. */
export class NoTurn extends Error {
  constructor() {
    super('Too many wait for a turn already. Try again later.');
  }
}

/**
 * Has few do something costly at once, lets some wait for their turn, and sends the others away. No party, however
 * many it sends, can keep the line full: it has few places there, and when they are all taken, the client that has most of
 * them gives one up for a party that has fewer.
 */
export class Turns {
  private taken = 0;
  /** Those who came first are first. */
  private readonly line: Waiting[] = [];

  constructor(
    private readonly atOnce: number,
    private readonly mayWait: number,
    private readonly mayWaitOfParty: number,
  ) {}

  /**
   * @param party who wants a turn
   * @throws NoTurn when too many wait already; what the work fails with
   */
  async take<Result>(party: string, work: () => Promise<Result>): Promise<Result> {
    if (this.taken < this.atOnce) this.taken++;
    else await this.wait(party);
    try {
      return await work();
    } finally {
      // The next one takes the place over, so that nobody can come in between.
      const next = this.line.shift();
      if (next === undefined) this.taken--;
      else next.begin();
    }
  }

  private async wait(party: string): Promise<void> {
    const places = this.line.filter((waiting) => waiting.party === party).length + 1;
    if (places > this.mayWaitOfParty) throw new NoTurn();
    if (this.line.length >= this.mayWait) this.makeRoom(places);
    await new Promise<void>((begin, sendAway) => this.line.push({ party, begin, sendAway }));
  }

  /**
   * Sends the newest of the largest party away.
   * @param places how many the newcomer's party then has
   * @throws NoTurn when no party has more
   */
  private makeRoom(places: number): void {
    const parties = new Map<string, Waiting[]>();
    for (const waiting of this.line)
      parties.set(waiting.party, [...(parties.get(waiting.party) ?? []), waiting]);
    const [largest = []] = [...parties.values()].sort((one, other) => other.length - one.length);
    const newest = largest.at(-1);
    if (newest === undefined || largest.length <= places) throw new NoTurn();
    this.line.splice(this.line.indexOf(newest), 1);
    newest.sendAway(new NoTurn());
  }
}
