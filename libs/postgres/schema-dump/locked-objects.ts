import type { Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import type { Members } from '../catalog/members.js';

/** Objects whose definitions cannot be read now. */
export interface LockedObjects {
  /** The tables that other sessions lock, and the tables and views that depend on them. */
  relations: (Relation & { key: string })[];
  /** All of their objects, as {@link objectKey} names them. */
  keys: Set<string>;
}

/** @param catalog the OID of an object's catalog, and the object's there */
export function objectKey(catalog: number, oid: number): string {
  return `${catalog} ${oid}`;
}

/**
 * Finds the tables outside the repository that others lock exclusively or wait to lock, and all that depends on them:
 * PostgreSQL reads the definition of a view under locks of the tables below it.
 * @param session one outside of the snapshot
 */
export async function findLockedObjects(session: Session, { relations }: Members): Promise<LockedObjects> {
  const objects = await session.query<{
    catalog: number;
    oid: number;
    schema: string | null;
    name: string | null;
  }>(
    `WITH RECURSIVE locked AS (
       SELECT DISTINCT c.oid
         FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND c.oid <> ALL ($1::oid[])
     ), object (classid, objid) AS (
       SELECT 'pg_class'::regclass::oid, oid FROM locked
        UNION
       SELECT dependent.classid, dependent.objid
         FROM object
         JOIN pg_depend d ON d.refclassid = object.classid AND d.refobjid = object.objid
         LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid AND w.ev_type = '1'
        CROSS JOIN LATERAL (
          SELECT d.classid, d.objid UNION ALL SELECT 'pg_class'::regclass, w.ev_class WHERE w.oid IS NOT NULL) AS dependent)
     SELECT o.classid::int8::float8 AS catalog, o.objid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name
       FROM object o
       LEFT JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
       LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
      ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [relations],
  );
  return {
    relations: objects.flatMap(({ schema, name, catalog, oid }) =>
      schema === null || name === null ? [] : [{ schema, name, key: objectKey(catalog, oid) }],
    ),
    keys: new Set(objects.map(({ catalog, oid }) => objectKey(catalog, oid))),
  };
}
