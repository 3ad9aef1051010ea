import { type NamedTable, TABLES_AND_ROOTS } from '../catalog/tables.js';
import { displayTable, quoteIdentifier, quoteTable } from '../connection/identifiers.js';
import { listPlannable } from '../trust/plannable-tables.js';
import type { Session } from '../connection/session.js';
import type { ScratchTable, Without } from './scratch-tables.js';
import { type TrustedPath, underPath } from '../trust/trusted-path.js';

interface Key {
  schema: string;
  table: string;
  name: string;
  isFull: boolean;
  /** The referring table, or its partitions. */
  referring: NamedTable[];
  referred: NamedTable[];
  columns: string[];
  referredColumns: string[];
  /** With a referred column on the left. */
  comparisons: Comparison[];
}

/** How PostgreSQL compares two columns of a key, as SQL: it casts to the operator's types and to the referred collation. */
interface Comparison {
  operator: string;
  left: string;
  right: string;
}

/** SQL: a cast to an operator's type, except to a pseudo-type such as anyarray. */
const castTo = (type: string) =>
  `(SELECT CASE WHEN t.typtype = 'p' THEN '' ELSE '::' || format_type(t.oid, -1) END FROM pg_type t WHERE t.oid = ${type})`;

/** SQL: the partitions of a table that hold rows, or the table itself, as JSON. */
const leavesOf = (relation: string) => `(
  SELECT coalesce(json_agg(json_build_object('oid', leaf.oid::int8, 'schema', ln.nspname, 'name', leaf.relname) ORDER BY leaf.oid), '[]')
    FROM pg_class leaf JOIN pg_namespace ln ON ln.oid = leaf.relnamespace
   WHERE leaf.relkind = 'r' AND (leaf.oid = ${relation} OR leaf.oid IN (SELECT relid FROM pg_partition_tree(${relation}))))`;
const columnsOf = (relation: string, numbers: string) => `ARRAY(
  SELECT a.attname::text FROM unnest(${numbers}) WITH ORDINALITY AS one (number, position)
    JOIN pg_attribute a ON a.attrelid = ${relation} AND a.attnum = one.number ORDER BY one.position)`;

export interface ComparedKeys {
  /** The first that is violated, by name. */
  violated?: string;
  /** Those that were not compared, for people, each with the reason. */
  untried: string[];
}

/**
 * Finds a valid foreign key that would refuse the rows of scratch tables, by one anti-join for each key. It reads other
 * tables live, if their owners gain nothing by a query (see {@link listPlannable}). Omits keys over columns that the
 * scratch tables do not compute.
 */
export async function findViolatedKey(
  session: Session,
  tables: ScratchTable[],
  paths: Map<number, TrustedPath>,
  { columns: empty }: Without,
): Promise<ComparedKeys> {
  const isEmpty = (leaves: NamedTable[], names: string[]) =>
    empty.some(({ relation, name }) => names.includes(name) && leaves.some(({ oid }) => oid === relation));
  const all = await listKeys(
    session,
    tables.map(({ like }) => like.oid),
  );
  const keys = all.filter(
    ({ referring, columns, referred, referredColumns }) =>
      !isEmpty(referring, columns) && !isEmpty(referred, referredColumns),
  );
  const scratchOf = new Map(tables.map(({ like, scratch }) => [like.oid, scratch]));
  const live = keys
    .flatMap(({ referring, referred }) => [...referring, ...referred])
    .filter(({ oid }) => !scratchOf.has(oid));
  const plannable = await listPlannable(session, live);
  const untried: string[] = [];
  for (const key of keys) {
    const name = `the foreign key ${key.name} of ${displayTable({ schema: key.schema, name: key.table })}`;
    const leaves = [...key.referring, ...key.referred];
    const closed = leaves.find(({ oid }) => !scratchOf.has(oid) && !plannable.has(oid));
    if (closed !== undefined) {
      untried.push(
        `${name}: the owner of ${displayTable(closed)} could run code with the rights of the worker's role.`,
      );
      continue;
    }
    const actual = (leaf: NamedTable) => quoteTable(scratchOf.get(leaf.oid) ?? leaf);
    const [first] = leaves;
    const [answer] = await underPath(session, paths.get(first?.oid ?? 0), () =>
      session.query<{ violated: boolean }>(violation(key, actual)),
    );
    if (answer?.violated === true) return { violated: name, untried };
  }
  return { untried };
}

function listKeys(session: Session, oids: number[]): Promise<Key[]> {
  return session.query<Key>(
    // Older servers do not know keys that are not enforced, or that compare periods, which an anti-join cannot do.
    `SELECT n.nspname AS schema, c.relname AS table, k.conname AS name, k.confmatchtype = 'f' AS "isFull",
            ${leavesOf('k.conrelid')} AS referring, ${leavesOf('k.confrelid')} AS referred,
            ${columnsOf('k.conrelid', 'k.conkey')} AS columns, ${columnsOf('k.confrelid', 'k.confkey')} AS "referredColumns",
            (SELECT json_agg(json_build_object('operator', format('OPERATOR(%I.%s)', o_n.nspname, o.oprname), 'left', ${castTo('o.oprleft')},
                      'right', ${castTo('o.oprright')} || CASE WHEN own.attcollation = other.attcollation THEN '' ELSE coalesce(
                        (SELECT format(' COLLATE %I.%I', l_n.nspname, l.collname) FROM pg_collation l
                           JOIN pg_namespace l_n ON l_n.oid = l.collnamespace WHERE l.oid = other.attcollation), '') END) ORDER BY one.position)
               FROM unnest(k.conpfeqop, k.conkey, k.confkey) WITH ORDINALITY AS one (oid, own, other, position)
               JOIN pg_attribute own ON own.attrelid = k.conrelid AND own.attnum = one.own
               JOIN pg_attribute other ON other.attrelid = k.confrelid AND other.attnum = one.other
               JOIN pg_operator o ON o.oid = one.oid JOIN pg_namespace o_n ON o_n.oid = o.oprnamespace) AS comparisons
       FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE k.contype = 'f' AND k.conparentid = 0 AND k.convalidated AND (k.conrelid IN ${TABLES_AND_ROOTS} OR k.confrelid IN ${TABLES_AND_ROOTS})
        AND to_jsonb(k) ->> 'conperiod' IS DISTINCT FROM 'true' AND to_jsonb(k) ->> 'conenforced' IS DISTINCT FROM 'false'
      ORDER BY k.oid`,
    [oids],
  );
}

function violation(
  { isFull, referring, referred, columns, referredColumns, comparisons }: Key,
  actual: (leaf: NamedTable) => string,
): string {
  const rows = (leaves: NamedTable[], names: string[]) => {
    const list = names.map(quoteIdentifier).join(', ');
    const parts = leaves.map((leaf) => `SELECT ${list} FROM ONLY ${actual(leaf)}`);
    return `(${parts.join(' UNION ALL ')})`;
  };
  if (referring.length === 0) return 'SELECT false AS violated';
  const isThere = columns.map((name) => `f.${quoteIdentifier(name)} IS NOT NULL`);
  const from = `SELECT FROM ${rows(referring, columns)} AS f WHERE`;
  const equal = comparisons.map(
    ({ operator, left, right }, index) =>
      `p.${quoteIdentifier(referredColumns[index] ?? '')}${left} ${operator} f.${quoteIdentifier(columns[index] ?? '')}${right}`,
  );
  const found =
    referred.length === 0
      ? ''
      : `AND NOT EXISTS (SELECT FROM ${rows(referred, referredColumns)} AS p WHERE ${equal.join(' AND ')})`;
  const halves = isFull
    ? `OR EXISTS (${from} NOT (${isThere.join(' AND ')}) AND (${isThere.join(' OR ')}))`
    : '';
  return `SELECT EXISTS (${from} ${isThere.join(' AND ')} ${found}) ${halves} AS violated`;
}
