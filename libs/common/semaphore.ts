/** A counting semaphore. Waiters are served in their order. */
export class Semaphore {
  private readonly waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  private failure: { error: unknown } | undefined;

  constructor(private free: number) {}

  /** @throws the error of `fail` */
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

  /** Rejects all present and later waiters. */
  fail(error: unknown): void {
    this.failure ??= { error };
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}
