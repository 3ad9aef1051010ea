/** A number of places that are taken and given back; who finds none waits, first come, first served. */
export class Semaphore {
  private readonly waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  private failure: { error: unknown } | undefined;

  constructor(private free: number) {}

  /** @throws what `fail` was told */
  async acquire(): Promise<void> {
    if (this.failure !== undefined) throw this.failure.error;
    if (this.free > 0) {
      this.free--;
      return;
    }
    await new Promise<void>((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  release(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.free++;
    else next.resolve();
  }

  /** There will be no places any more. */
  fail(error: unknown): void {
    this.failure ??= { error };
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}
