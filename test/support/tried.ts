/** Prints how often a test tried a fault and what came of it, in one line past jest's output. */
export function tried(fault: string, times: number, outcome: string): void {
  process.stdout.write(`TRIED ${fault}: ${times} times; ${outcome}\n`);
}

/** How often each outcome came: "3 taken over, 1 adopted". */
export function tally(outcomes: string[]): string {
  const counts = new Map<string, number>();
  for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ');
}
