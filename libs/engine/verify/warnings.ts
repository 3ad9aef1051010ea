import type { ManifestTable } from '#archive';
import { listRowConditions, type Session } from '#postgres';

const LISTED_WARNINGS = 20;
const ONLY_A_RESTORE = 'Only a restore proves that the archived rows satisfy';

/**
 * Warns of checks, NOT NULL and bounds of partitions that the archive's tables did not have, or had otherwise: the
 * archived rows may violate them. Of archives that do not say, there is no warning.
 * @param tables the live tables, in the order of the archived ones
 */
export async function warnOfNewConditions(
  session: Session,
  archived: ManifestTable[],
  tables: { oid: number }[],
): Promise<string[]> {
  const live = await listRowConditions(session, tables);
  const unproven = tables.flatMap(({ oid }, index) => {
    const conditions = archived[index]?.conditions;
    if (conditions === undefined) return [];
    const proven = new Set(conditions);
    return (live.get(oid) ?? []).filter(({ definition }) => !proven.has(definition));
  });
  const names = [...new Set(unproven.map(({ what }) => what))];
  return firstWarnings(
    names.map((what) => `${what} is not in the archive. ${ONLY_A_RESTORE} it.`),
    (more) => `Neither are ${more} more checks, NOT NULL or bounds. ${ONLY_A_RESTORE} them.`,
  );
}

/** The first 20 warnings, and one that counts the others. @param rest words it */
function firstWarnings(warnings: string[], rest: (more: number) => string): string[] {
  const more = warnings.length - LISTED_WARNINGS;
  return more > 0 ? [...warnings.slice(0, LISTED_WARNINGS), rest(more)] : warnings;
}
