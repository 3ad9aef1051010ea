const LISTED_WARNINGS = 20;

/** The first 20 warnings, and one that counts the others. @param rest words it */
export function firstWarnings(warnings: string[], rest: (more: number) => string): string[] {
  const more = warnings.length - LISTED_WARNINGS;
  return more > 0 ? [...warnings.slice(0, LISTED_WARNINGS), rest(more)] : warnings;
}
