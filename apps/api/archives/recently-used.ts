/** Remembers what was used last, and forgets the rest. */
export class RecentlyUsed<Value> {
  /** The least recently used first. */
  private readonly values = new Map<string, Value>();

  constructor(private readonly most: number) {}

  get(key: string): Value | undefined {
    const value = this.values.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key: string, value: Value): void {
    this.values.delete(key);
    this.values.set(key, value);
    for (const [oldest] of this.values) {
      if (this.values.size <= this.most) return;
      this.values.delete(oldest);
    }
  }
}
