import { displayTable, type Relation } from '../connection/identifiers.js';
import type { Omission } from './omission.js';
import type { Session } from '../connection/session.js';
import { ROWS_PER_BLOCK } from './tables.js';

/** Why the backup of some schemas does not hold a relation. */
const ELSEWHERE = 'its schema is not in REPOSITORY_SCHEMAS';

/** Partitions or children of a table in one schema that are listed by name. A table may have thousands. */
const NAMED = 20;

/** SQL: the tables of the schemas $1, which may have partitions and children in others. */
const LISTED = `SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p')`;

/** SQL: the names of the tables whose OIDs are aggregated, as JSON. */
function names(oid: string): string {
  return `(SELECT json_agg(json_build_object('schema', m.nspname, 'name', o.relname) ORDER BY m.nspname, o.relname)
             FROM unnest(array_agg(DISTINCT ${oid})) AS above (oid) JOIN pg_class o ON o.oid = above.oid JOIN pg_namespace m ON m.oid = o.relnamespace)`;
}

/**
 * Lists objects in other schemas that belong to tables of these schemas, so that a backup of these schemas omits them:
 * partitions and inheritance children, sequences, and tables that foreign keys refer to.
 */
export async function listBelongings(session: Session, schemas: string[]): Promise<Omission[]> {
  return [
    ...(await listChildren(session, schemas)),
    ...(await listSequencesBehind(session, schemas)),
    ...(await listReferenced(session, schemas)),
  ];
}

interface Child extends Relation {
  isPartition: boolean;
  isForeign: boolean;
  rows: number;
  of: Relation[];
}

async function listChildren(session: Session, schemas: string[]): Promise<Omission[]> {
  const children = await session.query<Child>(
    `WITH RECURSIVE listed AS (${LISTED}), below (oid, top) AS (
       SELECT inhrelid, inhparent FROM pg_inherits WHERE inhparent IN (SELECT oid FROM listed)
       UNION
       SELECT i.inhrelid, below.top FROM below JOIN pg_inherits i ON i.inhparent = below.oid
     )
     SELECT n.nspname AS schema, c.relname AS name, c.relispartition AS "isPartition", c.relkind = 'f' AS "isForeign",
            CASE WHEN c.relkind = 'f' THEN 0
                 ELSE round(${ROWS_PER_BLOCK} * coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int) END::float8 AS rows,
            ${names('below.top')} AS of
       FROM below JOIN pg_class c ON c.oid = below.oid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname <> ALL ($1) AND c.relkind IN ('r', 'f') AND c.relpersistence <> 't'
      GROUP BY n.nspname, c.oid, c.relname, c.relispartition, c.relkind, c.reltuples, c.relpages
      ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [schemas],
  );
  const groups = new Map<string, Child[]>();
  for (const child of children) {
    const group = JSON.stringify([child.schema, child.isForeign, child.of]);
    groups.set(group, [...(groups.get(group) ?? []), child]);
  }
  return [...groups.values()].flatMap((group) => {
    const others = group.slice(NAMED);
    return [
      ...group.slice(0, NAMED).map((child) => omittedChild(displayTable(child), 1, child)),
      ...others.slice(0, 1).map((child) => {
        const rows = others.reduce((sum, one) => sum + one.rows, 0);
        return omittedChild(`${others.length} more tables of the schema ${child.schema}`, others.length, {
          ...child,
          rows,
        });
      }),
    ];
  });
}

/**
 * Lists the tables of these schemas that inherit from the given ones, directly or not, and are not among them, for
 * messages. To choose a table does not choose its children's rows, as with pg_dump.
 */
export async function listChildrenNotChosen(
  session: Session,
  tables: { oid: number }[],
  schemas: string[],
): Promise<string[]> {
  const children = await session.query<Relation & { of: Relation[] }>(
    `WITH RECURSIVE chosen AS (SELECT unnest($1::oid[]) AS oid), below (oid, top) AS (
       SELECT inhrelid, inhparent FROM pg_inherits WHERE inhparent IN (SELECT oid FROM chosen)
       UNION
       SELECT i.inhrelid, below.top FROM below JOIN pg_inherits i ON i.inhparent = below.oid
     )
     SELECT n.nspname AS schema, c.relname AS name, ${names('below.top')} AS of
       FROM below JOIN pg_class c ON c.oid = below.oid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = ANY ($2) AND c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid NOT IN (SELECT oid FROM chosen)
      GROUP BY n.nspname, c.oid, c.relname ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [tables.map(({ oid }) => oid), schemas],
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

function omittedChild(what: string, count: number, { isPartition, isForeign, rows, of }: Child): Omission {
  const parents = of.map(displayTable).join(', ');
  const why = isForeign ? 'its rows are on another server' : ELSEWHERE;
  return {
    kind: isForeign ? 'foreignTableRows' : 'table',
    count,
    what: isForeign ? what : `${what} (about ${rows} ${rows === 1 ? 'row' : 'rows'})`,
    why: `${isPartition ? 'a partition' : 'a child'} of ${parents}: ${why}`,
    of,
  };
}

async function listSequencesBehind(session: Session, schemas: string[]): Promise<Omission[]> {
  const sequences = await session.query<Relation & { of: Relation[] }>(
    `SELECT n.nspname AS schema, c.relname AS name, ${names('used.relid')} AS of
       FROM (SELECT d.refobjid AS seqid, a.adrelid AS relid
               FROM pg_attrdef a JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass) AS used
       JOIN pg_class c ON c.oid = used.seqid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> ALL ($1) AND used.relid IN (${LISTED})
      GROUP BY n.nspname, c.oid, c.relname ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [schemas],
  );
  return sequences.map(({ of, ...sequence }) => ({
    kind: 'sequence' as const,
    count: 1,
    what: `the sequence ${displayTable(sequence)}`,
    why: `columns of ${of.map(displayTable).join(', ')} draw from it: ${ELSEWHERE}`,
    of,
  }));
}

async function listReferenced(session: Session, schemas: string[]): Promise<Omission[]> {
  const referenced = await session.query<Relation & { of: Relation[] }>(
    `SELECT n.nspname AS schema, c.relname AS name, ${names('k.conrelid')} AS of
       FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname <> ALL ($1) AND k.conrelid IN (${LISTED})
      GROUP BY n.nspname, c.oid, c.relname ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [schemas],
  );
  // Without `of`: a restore finds the rows or fails, so it lacks nothing.
  return referenced.map(({ of, ...table }) => ({
    kind: 'table' as const,
    count: 1,
    what: `${displayTable(table)}, to which ${of.map(displayTable).join(', ')} refers`,
    why: `foreign keys need its rows: ${ELSEWHERE}`,
  }));
}
