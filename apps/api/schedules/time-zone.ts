const DAY_MS = 24 * 60 * 60 * 1000;

/** Names begin with a letter. Newer versions of Node also accept offsets such as +01:00, which are no zones. */
const NAME = /^[a-z]/i;

/** A time zone's clock. A reading of it is given in milliseconds since 1970, as if it were UTC. */
export class TimeZone {
  private static readonly known = new Map<string, TimeZone>();

  private readonly format: Intl.DateTimeFormat;

  /** @throws RangeError if the IANA database has no such zone */
  static of(name: string): TimeZone {
    const zone = this.known.get(name) ?? new TimeZone(name);
    this.known.set(name, zone);
    return zone;
  }

  private constructor(name: string) {
    if (!NAME.test(name)) throw new RangeError(`Invalid time zone: ${name}`);
    this.format = new Intl.DateTimeFormat('en-US', { timeZone: name, timeZoneName: 'longOffset' });
  }

  /** The offset from UTC at a time, in milliseconds. */
  offset(time: number): number {
    const [, sign, hours = 0, minutes = 0, seconds = 0] =
      /GMT(?:([+-])(\d+):(\d+)(?::(\d+))?)?$/.exec(this.format.format(time)) ?? [];
    const ms = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
    return sign === '-' ? -ms : ms;
  }

  /**
   * The times at which the clock shows a reading: one, or two if it is put back. A reading that it skips when it is put
   * forward counts as shown later by the same amount.
   */
  timesOf(reading: number): number[] {
    const before = this.offset(reading - DAY_MS);
    const after = this.offset(reading + DAY_MS);
    if (before === after) return [reading - before];
    const shown = [before, after].filter((offset) => this.offset(reading - offset) === offset);
    return (shown.length === 0 ? [before] : shown).map((offset) => reading - offset);
  }

  /** The offsets around a time, so that a clock change nearby, which skips or repeats readings, is covered. */
  offsetsNear(time: number): number[] {
    const around = [-DAY_MS, 0, DAY_MS].map((ms) => this.offset(time + ms));
    const jump = Math.max(...around) - Math.min(...around);
    return [-jump, 0, jump].map((ms) => this.offset(time + ms));
  }
}
