import { displayTable, quoteIdentifier, quoteTable, type Relation } from '../connection/identifiers.js';
import { IS_USERS, KEYS_TO_OTHERS, type Members, OF_EXTENSION } from '../catalog/members.js';
import type { Omission } from '../catalog/omission.js';
import type { Session } from '../connection/session.js';

/** Children of the chosen tables that are listed by name. A table may have thousands. */
const NAMED = 20;

/** SQL: the names of the tables whose OIDs are aggregated, as JSON. */
export function tableNames(oid: string): string {
  return `(SELECT json_agg(json_build_object('schema', m.nspname, 'name', o.relname) ORDER BY m.nspname, o.relname)
             FROM unnest(array_agg(DISTINCT ${oid})) AS above (oid) JOIN pg_class o ON o.oid = above.oid JOIN pg_namespace m ON m.oid = o.relnamespace)`;
}

/**
 * Lists the tables among the members that inherit from the given ones, directly or not, and are not among them, for
 * messages. To choose a table does not choose its children's rows, as with pg_dump.
 */
export async function listChildrenNotChosen(
  session: Session,
  tables: { oid: number }[],
  { relations }: Members,
): Promise<string[]> {
  const children = await session.query<Relation & { of: Relation[] }>(
    `WITH RECURSIVE chosen AS (SELECT unnest($1::oid[]) AS oid), below (oid, top) AS (
       SELECT inhrelid, inhparent FROM pg_inherits WHERE inhparent IN (SELECT oid FROM chosen)
       UNION
       SELECT i.inhrelid, below.top FROM below JOIN pg_inherits i ON i.inhparent = below.oid
     )
     SELECT n.nspname AS schema, c.relname AS name, ${tableNames('below.top')} AS of
       FROM below JOIN pg_class c ON c.oid = below.oid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($2::oid[]) AND c.relkind = 'r' AND c.oid NOT IN (SELECT oid FROM chosen)
      GROUP BY n.nspname, c.oid, c.relname ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [tables.map(({ oid }) => oid), relations],
  );
  const more = children.length - NAMED;
  return [
    ...children
      .slice(0, NAMED)
      .map(
        ({ of, ...child }) =>
          `${displayTable(child)} (inherits from ${of.map(displayTable).join(', ')}, and was not chosen)`,
      ),
    ...(more > 0 ? [`${more} more tables that inherit from the chosen ones`] : []),
  ];
}

/**
 * Lists the schemas that hold tables or sequences of users and are outside of the repository, with their sizes. The number
 * of rows is an estimate: reading the size of a table would wait for its locks.
 */
export async function listOtherSchemas(
  session: Session,
  { relations, withoutRows, excluded, own }: Members,
): Promise<Omission[]> {
  const others = await session.query<{ schema: string; tables: number; sequences: number; rows: number }>(
    // The names of an SQL_ASCII database may not be valid UTF-8.
    `SELECT CASE WHEN current_setting('server_encoding') = 'SQL_ASCII'
                 THEN encode(convert_to(n.nspname::text, 'SQL_ASCII'), 'escape') ELSE n.nspname END AS schema,
            (count(*) FILTER (WHERE c.relkind = 'r'))::int AS tables,
            (count(*) FILTER (WHERE c.relkind = 'S'))::int AS sequences,
            coalesce(sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0))
                     FILTER (WHERE c.relkind = 'r'), 0)::float8 AS rows
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'S') AND ${IS_USERS} AND n.nspname <> ALL ($2)
        AND NOT EXISTS (SELECT FROM unnest($1::oid[]) AS known (oid) WHERE known.oid = c.oid) AND NOT ${OF_EXTENSION}
      GROUP BY n.nspname ORDER BY n.nspname COLLATE "C"`,
    [[...relations, ...withoutRows, ...excluded], own],
  );
  return others.map(({ schema, tables, sequences, rows }) => ({
    kind: 'schema' as const,
    count: 1,
    what: `the schema ${schema} (${tables > 0 ? `${counted(tables, 'table')}, about ${counted(rows, 'row')}` : counted(sequences, 'sequence')})`,
    why: 'it is not in REPOSITORY_SCHEMAS',
  }));
}

/**
 * Lists the tables outside of the repository that foreign keys of its tables refer to. The schema definitions lack these
 * keys: a database without the tables could not have them.
 */
export async function listReferenced(
  session: Session,
  { relations, withoutRows, excluded }: Members,
): Promise<Omission[]> {
  const referenced = await session.query<
    Relation & { of: Relation[]; excluded: boolean; keys: (Relation & { key: string; definition: string })[] }
  >(
    `SELECT n.nspname AS schema, c.relname AS name, ${tableNames('k.conrelid')} AS of, c.oid = ANY ($2::oid[]) AS excluded,
            json_agg(json_build_object('schema', m.nspname, 'name', o.relname, 'key', k.conname, 'definition', pg_get_constraintdef(k.oid))
                     ORDER BY m.nspname COLLATE "C", o.relname COLLATE "C", k.conname COLLATE "C") AS keys
       FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_class o ON o.oid = k.conrelid JOIN pg_namespace m ON m.oid = o.relnamespace
      WHERE k.oid IN (${KEYS_TO_OTHERS}) AND k.conparentid = 0
        AND EXISTS (SELECT FROM unnest($1::oid[]) AS known (oid) WHERE known.oid = k.conrelid)
      GROUP BY n.nspname, c.oid, c.relname ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [[...relations, ...withoutRows], excluded],
  );
  // Without `of`: a restore finds the rows or fails, so it lacks nothing.
  return referenced.map(({ of, keys, excluded: isExcluded, ...table }) => ({
    kind: 'table' as const,
    count: 1,
    what: displayTable(table),
    why: `${of.map((one) => `${displayTable(one)} refers to ${displayTable(table)}`).join(', ')}; ${isExcluded ? 'it is excluded' : 'its schema is not in REPOSITORY_SCHEMAS'}. schema.sql lacks the foreign key${keys.length === 1 ? '' : 's'}. To add ${keys.length === 1 ? 'it' : 'them'}: ${keys.map(({ key, definition, ...one }) => `ALTER TABLE ${quoteTable(one)} ADD CONSTRAINT ${quoteIdentifier(key)} ${definition}`).join('; ')}`,
  }));
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
