import { Failure } from '#common';
import { displayTable, namedInError, quoteIdentifier, quoteTable, type Relation, sqlState } from '#postgres';

/** The failure if a foreign key refuses rows. */
export function danglingKey(
  what: string,
  cause?: unknown,
  hint = 'Nothing was changed. Restore both of its tables, delete those rows first, or restore with "keepViolations": true to reinstate the key as NOT VALID.',
): Failure {
  return new Failure(
    'FOREIGN_KEY_DANGLING',
    'permanent',
    `Rows refer to missing rows: ${what} is violated.`,
    { hint, cause },
  );
}

const MAY_BE_KEPT =
  'Nothing was changed. Restore with "keepViolations": true to reinstate the check as NOT VALID.';

/** The failure if a check, NOT NULL or a partition's bounds refuse rows. */
export function violatedCheck(
  what: string,
  { cause, hint }: { cause?: unknown; hint?: string | undefined },
): Failure {
  return new Failure('CHECK_VIOLATED', 'permanent', `Rows violate ${what}.`, {
    hint: hint ?? MAY_BE_KEPT,
    cause,
    confidential: cause instanceof Failure ? cause.confidential : undefined,
  });
}

/** The hint if the bounds of their partition refuse rows. */
export const OTHER_BOUNDS = 'Nothing was changed. Give the partition its bounds of the time of the backup.';

/**
 * Names the constraint of a table that refused its rows while they were loaded.
 * @param table the table to change: that of the restore, or the one that a scratch table is made like
 * @returns undefined for other errors, and for those of users' code
 */
export function refusedRows(error: unknown, table: Relation, keepViolations: boolean): Failure | undefined {
  const names = namedInError(error);
  if (names === undefined || !(error instanceof Failure)) return undefined;
  const { constraint, column, schema, dataType } = names;
  const domain = dataType === undefined ? undefined : { schema: schema ?? '', name: dataType };
  const alter = domain ? `ALTER DOMAIN ${quoteTable(domain)}` : `ALTER TABLE ${quoteTable(table)}`;
  const of = domain ? `the domain ${displayTable(domain)}` : displayTable(table);
  const refused = (what: string, hint: string) => violatedCheck(what, { cause: error, hint });
  switch (sqlState(error)) {
    case '23502': {
      const set = domain || column === undefined ? alter : `${alter} ALTER ${quoteIdentifier(column)}`;
      const what = domain || column === undefined ? of : `${of}.${column}`;
      return refused(`NOT NULL of ${what}`, `Nothing was changed. Run first: ${set} DROP NOT NULL;`);
    }
    case '23514': {
      if (constraint === undefined) return domain ? undefined : refused(`the bounds of ${of}`, OTHER_BOUNDS);
      const drop = `run first: ${alter} DROP CONSTRAINT ${quoteIdentifier(constraint)};`;
      const kept = `Restore with "keepViolations": true to reinstate the check as NOT VALID, or ${drop}`;
      return refused(
        `the check ${constraint} of ${of}`,
        `Nothing was changed. ${keepViolations ? `The check cannot be suspended: ${drop}` : kept}`,
      );
    }
    case '23505':
    case '23P01':
      return new Failure('DATABASE_QUERY_FAILED', 'permanent', error.message, {
        hint: `Nothing was changed. If the constraint or unique index ${constraint ?? ''} is newer than the archive, drop it first.`,
        cause: error,
        confidential: error.confidential,
      });
    case undefined:
    default:
      return undefined;
  }
}
