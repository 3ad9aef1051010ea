import { Failure } from '#common';

/** Collects the reasons for which a restore would be refused. */
export class Refusals {
  readonly all: Failure[] = [];

  constructor(private readonly signal: AbortSignal) {}

  /**
   * Tries something that a restore does or checks. Its failure is a reason.
   * @returns undefined if it fails. @throws errors that are no Failure; the signal's reason
   */
  async tryOut<Result>(work: () => Promise<Result> | Result): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      if (this.signal.aborted || !(error instanceof Failure)) throw error;
      if (!this.all.some(({ message }) => message === error.message)) this.all.push(error);
      return undefined;
    }
  }
}
