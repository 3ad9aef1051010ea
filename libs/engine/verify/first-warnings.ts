/** So many are told one by one. */
const TOLD = 20;

/** The first warnings, and one that counts the others. @param rest says so */
export function firstWarnings(warnings: string[], rest: (more: number) => string): string[] {
  const more = warnings.length - TOLD;
  return more > 0 ? [...warnings.slice(0, TOLD), rest(more)] : warnings;
}
