import { Failure } from '#common';
import { quoteIdentifier } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import type { CopyQuery } from '../copy/copy-out.js';
import { hasPrivilege, rightsOf } from './rights.js';

/** Large objects that one COPY reads. */
export interface LargeObjectRange {
  /** OIDs: from the first to the last object. */
  first: number;
  last: number;
  objects: number;
  /** If the range is a part of one object: its first byte, and the one after its last. */
  part?: { from: number; to: number };
}

/** The large objects of a database. */
export interface LargeObjects {
  objects: number;
  bytes: number;
  /** In the order of the OIDs. */
  ranges: LargeObjectRange[];
}

/** Bytes of a large object in one row. A row is twice as long, because COPY prints bytes as hexadecimal digits. */
const PIECE_BYTES = 256 * 1024;
/** Opening an object takes as long as reading this number of bytes. */
const OPENING_BYTES = 1024;
/** The most ranges of a backup; beyond that, ranges grow. */
const MAX_RANGES = 50_000;
/** The length of the other fields of all rows of a range. */
const MARGIN_BYTES = 64 * 1024;

/** https://www.postgresql.org/docs/current/lo-interfaces.html */
const [INV_READ, SEEK_END] = [262_144, 2];

/**
 * SQL: large objects with their sizes. Closing each object before the next one is opened needs no memory for descriptors.
 * A lateral join would be wrong: it caches the size by the descriptor, whose number is used again.
 */
const sized = (where: string) => `(
  SELECT oid, lomowner, lomacl, lo_lseek64(descriptor, 0, ${SEEK_END}) AS bytes, lo_close(descriptor) AS closed
    FROM (SELECT oid, lomowner, lomacl, lo_open(oid, ${INV_READ}) AS descriptor
            FROM pg_largeobject_metadata WHERE ${where} ORDER BY oid OFFSET 0) AS opened OFFSET 0)`;

/** Returns the number of large objects that a transaction sees. */
export async function countLargeObjects(session: Session): Promise<number> {
  const [answer] = await session.query<{ objects: number }>(
    'SELECT count(*)::float8 AS objects FROM pg_largeobject_metadata',
  );
  return answer?.objects ?? 0;
}

/**
 * Divides the large objects that a transaction sees into ranges, so that several sessions can read them. A large object
 * becomes several ranges. All queries name only system tables, so that no code of a user runs.
 * @param wantedBytes the bytes of CSV in a range
 * @throws Failure DATABASE_PERMISSION_DENIED if the role may not read all of them
 */
export async function planLargeObjects(session: Session, wantedBytes: number): Promise<LargeObjects> {
  await expectReadable(session);
  const wanted = Math.max(PIECE_BYTES, wantedBytes / 2);
  const rows = await session.query<LargeObjectRange & { bytes: number; most: number }>(
    `WITH objects AS MATERIALIZED (SELECT oid, bytes FROM ${sized('true')} AS sized),
          total AS (SELECT ceil(greatest($1, sum(bytes + ${OPENING_BYTES}) / ${MAX_RANGES}) / ${PIECE_BYTES}) * ${PIECE_BYTES} AS most FROM objects)
     SELECT min(oid)::int8::float8 AS first, max(oid)::int8::float8 AS last, count(*)::float8 AS objects,
            sum(bytes)::float8 AS bytes, most::float8 AS most
       FROM (SELECT oid, bytes, most, bytes > most AS alone,
                    floor(sum(bytes + ${OPENING_BYTES}) OVER (ORDER BY oid) / most) AS number
               FROM objects CROSS JOIN total) AS numbered
      GROUP BY number, alone, most ORDER BY 1`,
    [wanted],
  );
  return {
    objects: rows.reduce((sum, { objects }) => sum + objects, 0),
    bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0),
    ranges: rows.flatMap(({ first, last, objects, bytes, most }) =>
      bytes > most && objects === 1
        ? Array.from({ length: Math.ceil(bytes / most) }, (_, index) => {
            const from = index * most;
            // Progress counts the object once, with its first part.
            const counted = index === 0 ? 1 : 0;
            return { first, last, objects: counted, part: { from, to: Math.min(from + most, bytes) } };
          })
        : [{ first, last, objects }],
    ),
  };
}

/**
 * Returns the query for the contents of a range: a row for each piece of each object, in order. Empty objects have none.
 * @param wantedBytes as for {@link planLargeObjects}
 */
export function contentsOf({ first, last, part }: LargeObjectRange, wantedBytes: number): CopyQuery {
  const objects = part === undefined ? sized(`oid BETWEEN ${first} AND ${last}`) : '';
  return {
    what: 'large objects',
    entryBytes: Math.max(2 * PIECE_BYTES, wantedBytes) + MARGIN_BYTES,
    sql:
      part === undefined
        ? `SELECT oid, position AS "offset", lo_get(oid, position, ${PIECE_BYTES}) AS bytes
             FROM ${objects} AS sized, generate_series(0, bytes - 1, ${PIECE_BYTES}) AS position
            ORDER BY oid, position`
        : `SELECT ${first}::oid AS oid, position AS "offset", lo_get(${first}, position, ${PIECE_BYTES}) AS bytes
             FROM generate_series(${part.from}::bigint, ${part.to - 1}, ${PIECE_BYTES}) AS position
            ORDER BY position`,
  };
}

/** The query for all large objects, in the order of their OIDs: a row for each, without its content. */
export const LARGE_OBJECTS_QUERY: CopyQuery = {
  what: 'the owners and rights of large objects',
  sql: `SELECT oid, bytes, pg_get_userbyid(lomowner) AS owner,
               CASE WHEN lomacl IS NOT NULL THEN ${rightsOf('lomacl')} END AS rights,
               obj_description(oid, 'pg_largeobject') AS comment
          FROM ${sized('true')} AS sized ORDER BY oid`,
};

/** The encoding of the rows of {@link LARGE_OBJECTS_QUERY}. Without an encoding PostgreSQL cannot convert the names. */
export function encodingOfNames(serverEncoding: string): string {
  return serverEncoding === 'SQL_ASCII' ? serverEncoding : 'UTF8';
}

/** pg_read_all_data does not include large objects, and only superusers may read the table that holds them. */
async function expectReadable(session: Session): Promise<void> {
  const [answer] = await session.query<{
    all: number;
    unreadable: number;
    first: number | null;
    role: string;
    database: string;
  }>(
    `SELECT count(*)::float8 AS all, (count(*) FILTER (WHERE NOT readable))::float8 AS unreadable,
            (min(oid) FILTER (WHERE NOT readable))::int8::float8 AS first, current_user AS role, current_database() AS database
       FROM (SELECT oid, ${hasPrivilege('SELECT')} AS readable FROM pg_largeobject_metadata AS m) AS objects`,
  );
  if (answer === undefined || answer.unreadable === 0) return;
  const { all, unreadable, first, role, database } = answer;
  throw new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The role ${role} may not read ${unreadable} of ${all} large objects, such as ${first}: permission denied.`,
    {
      hint: `Have a superuser run: ALTER ROLE ${quoteIdentifier(role)} IN DATABASE ${quoteIdentifier(database)} SET lo_compat_privileges = on; Or set EXCLUDE_LARGE_OBJECTS=true: archives then hold no large objects.`,
    },
  );
}
