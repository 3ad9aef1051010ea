/**
 * Prints the number of tries of a fault and their outcome in one line. The figures of docs/reliability.md come from
 * these lines.
 */
export function tried(fault: string, times: number, outcome: string): void {
  process.stdout.write(`TRIED ${fault}: ${times} times; ${outcome}\n`);
}

/** Counts each outcome: "3 taken over, 1 adopted". */
export function tally(outcomes: string[]): string {
  const counts = new Map<string, number>();
  for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ');
}
