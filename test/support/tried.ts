/**
 * Prints how often a fault was tried and what came of it, in one line past jest's own output: the figures of
 * docs/reliability.md are copied from these lines.
 */
export function tried(fault: string, times: number, outcome: string): void {
  process.stdout.write(`TRIED ${fault}: ${times} times; ${outcome}\n`);
}
