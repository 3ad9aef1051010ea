import { TABLES_AND_ROOTS } from '../catalog/tables.js';
import { displayTable, quoteIdentifier, quoteLiteral } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { ENABLE } from './suspension.js';

/** Facts of a foreign key, or of a partition's part of it, that ADD CONSTRAINT does not restore. */
interface KeyFacts {
  /** Equal before the key is dropped and after it is added again. */
  id: string;
  oid: number;
  isPart: boolean;
  /** The quoted name. */
  table: string;
  schema: string;
  relation: string;
  name: string;
  comment: string | null;
  /** The quoted name of the unique index that it relies on. */
  index: string | null;
  triggers: { id: string; table: string; name: string; enabled: string }[];
}

/** The foreign keys of tables and those that point to them, with their partitions' parts. */
export interface RememberedKeys {
  oids: number[];
  keys: KeyFacts[];
}

/** Reads the facts for {@link makeKeysExact}, before the keys are dropped. */
export async function rememberKeys(session: Session, tables: { oid: number }[]): Promise<RememberedKeys> {
  const oids = tables.map(({ oid }) => oid);
  return { oids, keys: await listKeys(session, oids) };
}

function listKeys(session: Session, oids: number[]): Promise<KeyFacts[]> {
  return session.query<KeyFacts>(
    `WITH RECURSIVE tree (root, oid) AS (
       SELECT k.oid, k.oid FROM pg_constraint k
        WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid IN ${TABLES_AND_ROOTS} OR k.confrelid IN ${TABLES_AND_ROOTS})
       UNION SELECT tree.root, k.oid FROM tree JOIN pg_constraint k ON k.conparentid = tree.oid)
     SELECT format('%s %s %s %s', root.conrelid::oid, root.conname, k.conrelid::oid, k.confrelid::oid) AS id, k.oid::int8::float8 AS oid,
            k.oid <> root.oid AS "isPart", k.conrelid::regclass::text AS table, n.nspname AS schema, c.relname AS relation, k.conname AS name,
            obj_description(k.oid, 'pg_constraint') AS comment, nullif(k.conindid, 0)::regclass::text AS index,
            coalesce((SELECT json_agg(json_build_object('id', format('%s %s %s', t.tgrelid::oid, t.tgtype, t.tgfoid::oid),
                               'table', t.tgrelid::regclass, 'name', t.tgname, 'enabled', t.tgenabled))
                        FROM pg_trigger t WHERE t.tgconstraint = k.oid), '[]') AS triggers
       FROM tree JOIN pg_constraint root ON root.oid = tree.root JOIN pg_constraint k ON k.oid = tree.oid
       JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      ORDER BY k.oid`,
    [oids],
  );
}

/**
 * Restores the names and comments of the partitions' parts of keys that were added again, and the states of the keys'
 * triggers.
 * @returns the differences that remain, for messages
 */
export async function makeKeysExact(session: Session, { oids, keys }: RememberedKeys): Promise<string[]> {
  if (keys.length === 0) return [];
  const now = new Map((await listKeys(session, oids)).map((key) => [key.id, key]));
  const pairs = keys.flatMap((before) => {
    const after = now.get(before.id);
    return after === undefined ? [] : [{ before, after }];
  });
  const renamed = pairs.filter(({ before, after }) => before.name !== after.name);
  // In two steps, because parts may have exchanged their names.
  for (const { after } of renamed) await rename(session, after.table, after.name, `snapshotd ${after.oid}`);
  for (const { before, after } of renamed)
    await rename(session, after.table, `snapshotd ${after.oid}`, before.name);
  for (const { before, after } of pairs)
    if (before.isPart && before.comment !== after.comment)
      await session.query(
        `COMMENT ON CONSTRAINT ${quoteIdentifier(before.name)} ON ${before.table} IS ${before.comment === null ? 'NULL' : quoteLiteral(before.comment)}`,
      );
  const inexact = pairs
    .filter(({ before, after }) => before.index !== after.index)
    .map(
      ({ before, after }) =>
        `${displayKey(before)} (it relies on the index ${after.index} instead of ${before.index})`,
    );
  return [...inexact, ...(await setTriggers(session, pairs))];
}

async function setTriggers(
  session: Session,
  pairs: { before: KeyFacts; after: KeyFacts }[],
): Promise<string[]> {
  const changes = pairs.flatMap(({ before, after }) =>
    before.triggers.flatMap(({ id, enabled }) => {
      const trigger = after.triggers.find((one) => one.id === id);
      return trigger === undefined || trigger.enabled === enabled ? [] : [{ key: before, trigger, enabled }];
    }),
  );
  if (changes.length === 0) return [];
  const [role] = await session.query<{ superuser: boolean }>(
    `SELECT current_setting('is_superuser') = 'on' AS superuser`,
  );
  if (role?.superuser !== true) {
    const names = new Set(changes.map(({ key }) => displayKey(key)));
    return [...names].map(
      (name) => `${name} (its triggers were disabled and are now enabled: only a superuser may disable them)`,
    );
  }
  for (const { trigger, enabled } of changes)
    await session.query(
      `ALTER TABLE ONLY ${trigger.table} ${ENABLE[enabled] ?? 'DISABLE'} TRIGGER ${quoteIdentifier(trigger.name)}`,
    );
  return [];
}

async function rename(session: Session, table: string, from: string, to: string): Promise<void> {
  await session.query(
    `ALTER TABLE ONLY ${table} RENAME CONSTRAINT ${quoteIdentifier(from)} TO ${quoteIdentifier(to)}`,
  );
}

function displayKey({ schema, relation, name }: KeyFacts): string {
  return `the foreign key ${name} of ${displayTable({ schema, name: relation })}`;
}
