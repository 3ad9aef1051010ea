/** A caller that waits for its turn. */
interface Waiting {
  party: string;
  begin: () => void;
  sendAway: (reason: NoTurn) => void;
}

/** Too many callers are waiting. Nothing was done. */
export class NoTurn extends Error {
  constructor() {
    super('Too many callers are waiting for their turn. Try again later.');
  }
}

/**
 * A fair queue for costly work: few run at once, some wait, the others are rejected. No party can fill the queue: its
 * places are limited, and if the queue is full, the party with the most places gives one up to a party with fewer.
 */
export class Turns {
  private taken = 0;
  /** First come, first served. */
  private readonly line: Waiting[] = [];

  constructor(
    private readonly atOnce: number,
    private readonly mayWait: number,
    private readonly mayWaitOfParty: number,
  ) {}

  /**
   * Runs work when its turn comes.
   * @param party the caller's
   * @throws NoTurn if too many are waiting; the error of the work
   */
  async take<Result>(party: string, work: () => Promise<Result>): Promise<Result> {
    if (this.taken < this.atOnce) this.taken++;
    else await this.wait(party);
    try {
      return await work();
    } finally {
      // The next one takes over directly, so that no newcomer gets ahead of it.
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
   * Rejects the newest caller of the largest party.
   * @param places the places of the newcomer's party, including its own
   * @throws NoTurn if no party has more
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
