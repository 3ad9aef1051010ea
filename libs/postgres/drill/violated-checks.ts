import type { Failure } from '#common';
import { listCodeUses, usesThatRead } from '../catalog/code-uses.js';
import { displayTable, quoteIdentifier, quoteTable } from '../connection/identifiers.js';
import { attempt } from '../connection/transactions.js';
import type { Session } from '../connection/session.js';
import type { ScratchTable, Without } from './scratch-tables.js';
import { type TrustedPath, underPath } from '../trust/trusted-path.js';

interface Condition {
  /** The OID of the live table. */
  relation: number;
  /** A check's name. The bounds of a partition have none. */
  name: string | null;
  definition: string;
}

export interface CheckedConditions {
  /** The first that is violated. */
  violated?: ViolatedCondition;
  /** Those that PostgreSQL did not let the copies have, for people, each with the reason. */
  untried: string[];
}

interface ViolatedCondition {
  /** For messages. */
  what: string;
  isBounds: boolean;
  /** The failure of the condition, which may also raise an error, such as a division by zero. */
  failure: Failure;
}

/**
 * Finds a valid check, or the bounds of a partition, that would refuse the rows of scratch tables, by adding the same
 * conditions to them. Omits conditions that call functions which may read tables, because they would read the live ones,
 * and conditions over columns that the scratch tables do not compute, whole rows or system columns, such as tableoid.
 */
export async function findViolatedCheck(
  session: Session,
  tables: ScratchTable[],
  paths: Map<number, TrustedPath>,
  { columns }: Without,
): Promise<CheckedConditions> {
  const conditionsOf = new Map<number, Condition[]>();
  for (const condition of await listConditions(session, tables, columns))
    conditionsOf.set(condition.relation, [...(conditionsOf.get(condition.relation) ?? []), condition]);
  const untried: string[] = [];
  for (const { like, scratch } of tables) {
    const alter = `ALTER TABLE ${quoteTable(scratch)}`;
    const added: (Omit<ViolatedCondition, 'failure'> & { validate: string })[] = [];
    for (const [index, { name, definition }] of (conditionsOf.get(like.oid) ?? []).entries()) {
      const constraint = quoteIdentifier(`snapshotd ${index}`);
      const add = `${alter} ADD CONSTRAINT ${constraint} ${definition} NOT VALID`;
      const what = `${name === null ? 'the bounds' : `the check ${name}`} of ${displayTable(like)}`;
      const refusal = await attempt(session, () => session.query(add));
      if (refusal === undefined)
        added.push({ validate: `VALIDATE CONSTRAINT ${constraint}`, what, isBounds: name === null });
      else untried.push(`${what}: ${refusal.sentence}`);
    }
    const fails = (some: typeof added) =>
      attempt(session, () =>
        underPath(session, paths.get(like.oid), () =>
          session.query(`${alter} ${some.map(({ validate }) => validate).join(', ')}`),
        ),
      );
    // All conditions in one pass over the rows.
    if (added.length === 0 || (await fails(added)) === undefined) continue;
    for (const one of added) {
      const failure = await fails([one]);
      if (failure !== undefined) return { violated: { ...one, failure }, untried };
    }
  }
  return { untried };
}

async function listConditions(
  session: Session,
  tables: ScratchTable[],
  columns: Without['columns'],
): Promise<Condition[]> {
  const live = tables.map(({ like }) => like);
  const reading = await usesThatRead(session, await listCodeUses(session, live));
  return session.query<Condition & Record<string, unknown>>(
    `SELECT k.conrelid::int8::float8 AS relation, k.conname AS name, pg_get_constraintdef(k.oid) AS definition
       FROM pg_constraint k
      WHERE k.contype = 'c' AND k.convalidated AND k.conrelid = ANY ($1::oid[]) AND k.oid <> ALL ($2::oid[])
        -- Whole rows and system columns have the number 0 and less.
        AND 0 < ALL (coalesce(k.conkey, '{}'))
        AND NOT EXISTS (SELECT FROM unnest($4::oid[], $5::text[]) AS plain (relation, name)
                          JOIN pg_attribute a ON a.attrelid = plain.relation AND a.attname = plain.name
                         WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
      UNION ALL
     SELECT c.oid::int8::float8, NULL, format('CHECK (%s)', pg_get_partition_constraintdef(c.oid))
       FROM pg_class c
      WHERE c.oid = ANY ($1::oid[]) AND c.oid <> ALL ($3::oid[]) AND pg_get_partition_constraintdef(c.oid) IS NOT NULL`,
    [
      live.map(({ oid }) => oid),
      reading.filter(({ kind }) => kind === 'check').map(({ id }) => id),
      reading.filter(({ kind }) => kind === 'partition').map(({ relation }) => relation),
      columns.map(({ relation }) => relation),
      columns.map(({ name }) => name),
    ],
  );
}
