import type { ManifestTable, OpenArchive } from '#archive';
import { Failure } from '#common';
import {
  commentOn,
  displayTable,
  isCheckViolation,
  isRefusal,
  namedInError,
  quoteIdentifier,
  quoteTable,
  type Session,
} from '#postgres';
import { readToEnd } from '../restore/load-tables.js';
import { refusedRows } from '../restore/refused-rows.js';
import type { Workplace } from './definitions.js';
import { loadAgain, type RefusedTable } from './load-rows.js';
import { underDatabasePath } from './search-path.js';
import { alone } from './units.js';

/** The most checks that are dropped for one table. */
const MAX_CHECKS = 100;

/**
 * Loads the tables that have refused their rows, now that all functions exist: first under the search_path of the
 * database, then without the checks that rows violate, which stay NOT VALID.
 * @throws Failure ARCHIVE_INVALID, CHECK_VIOLATED, or PostgreSQL's
 */
export async function loadRefused(
  workplace: Workplace,
  archive: OpenArchive,
  refused: RefusedTable[],
): Promise<void> {
  if (refused.length === 0) return;
  const [session] = workplace.sessions;
  const { progress, signal } = workplace;
  const tables = refused.map(({ table }) => table);
  progress.say(`Loading rows of ${tables.length} tables again`);
  await underDatabasePath(session, archive.manifest, async () => {
    for (const one of await loadAgain(session, archive, tables, progress, signal))
      await loadWithoutChecks(workplace, archive, one);
  });
}

async function loadWithoutChecks(
  { sessions, losses, progress, signal }: Workplace,
  archive: OpenArchive,
  { table, failure }: RefusedTable,
): Promise<void> {
  const [session] = sessions;
  // A damaged row of a long entry may reach PostgreSQL before the entry's checksums fail: report the damage.
  await readToEnd(archive, table.entries, signal);
  const dropped: DroppedCheck[] = [];
  let refusal: Failure | undefined = failure;
  while (refusal !== undefined) {
    const check: DroppedCheck | undefined =
      isCheckViolation(refusal) && dropped.length < MAX_CHECKS
        ? await dropCheck(session, refusal, table)
        : undefined;
    if (check === undefined) throw refusedByDefinitions(refusedRows(refusal, table, true) ?? refusal);
    dropped.push(check);
    const [again] = await loadAgain(session, archive, [table], progress, signal);
    refusal = again?.failure;
  }
  for (const check of dropped) losses.push(...(await addCheck(session, check)));
}

/** A table that only the archive defines cannot be changed first. */
function refusedByDefinitions(error: Failure): Failure {
  return new Failure(error.code, error.persistence, error.message, {
    cause: error,
    confidential: error.confidential,
    hint: "Nothing was changed. The archive's definitions give other results than at the backup. Create the database with a changed schema.sql, and restore the archive in place.",
  });
}

interface DroppedCheck {
  /** Such as `TABLE "s"."t"`. */
  owner: string;
  what: string;
  name: string;
  definition: string;
  comment: string | null;
}

/** Drops the check that an error names. @returns undefined if it names none, or if PostgreSQL refuses that */
async function dropCheck(
  session: Session,
  error: Failure,
  table: ManifestTable,
): Promise<DroppedCheck | undefined> {
  const { constraint, schema = '', dataType } = namedInError(error) ?? {};
  if (constraint === undefined) return undefined;
  const isDomain = dataType !== undefined;
  const of = isDomain ? { schema, name: dataType } : table;
  const [found] = await session.query<{ definition: string; comment: string | null }>(
    `SELECT pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment
       FROM pg_constraint k
      WHERE k.contype = 'c' AND k.conname = $1
        AND ${isDomain ? 'k.contypid = $2::regtype' : 'k.conrelid = $2::regclass'}`,
    [constraint, quoteTable(of)],
  );
  if (found === undefined) return undefined;
  const owner = `${isDomain ? 'DOMAIN' : 'TABLE'} ${quoteTable(of)}`;
  try {
    await alone(session, () =>
      session.query(`ALTER ${owner} DROP CONSTRAINT ${quoteIdentifier(constraint)}`),
    );
  } catch (refusal) {
    if (isRefusal(refusal)) return undefined;
    throw refusal;
  }
  return { owner, what: `the check ${constraint} of ${displayTable(of)}`, name: constraint, ...found };
}

async function addCheck(
  session: Session,
  { owner, what, name, definition, comment }: DroppedCheck,
): Promise<string[]> {
  const add = `ALTER ${owner} ADD CONSTRAINT ${quoteIdentifier(name)} ${definition}`;
  const losses: string[] = [];
  try {
    await alone(session, () => session.query(add));
  } catch (error) {
    if (!(error instanceof Failure) || !isRefusal(error)) throw error;
    await session.query(`${add.replace(/ NOT VALID$/, '')} NOT VALID`);
    losses.push(`${what} (NOT VALID: rows violate it)`);
  }
  const on = owner.startsWith('DOMAIN') ? owner : owner.replace(/^TABLE /, '');
  for (const statement of commentOn(`CONSTRAINT ${quoteIdentifier(name)} ON ${on}`, comment))
    await session.query(statement);
  return losses;
}
