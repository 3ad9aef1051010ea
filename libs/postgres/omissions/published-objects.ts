import type { Omission } from '../catalog/omission.js';
import { quoteIdentifier } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { type ChosenObjects, isHeld } from '../schema-dump/chosen-objects.js';
import { objectKey } from '../schema-dump/locked-objects.js';

/** Tables and schemas that one omission names. Its statement has all of them. */
const NAMED = 10;

/** Kinds of members. A statement adds several of one kind. */
const WHAT = ['TABLE', 'TABLES IN SCHEMA'] as const;

/** SQL: values of columns that older servers lack. If the catalog of a subquery has such a column, its name means that. */
const OLDER = '(SELECT NULL::pg_node_tree AS prqual, NULL::int2vector AS prattrs) AS older';

/**
 * Lists the tables and schemas that publications name and that the definitions lack, with the statements that add them.
 * The publications themselves are there.
 */
export async function listLostPublished(session: Session, chosen: ChosenObjects): Promise<Omission[]> {
  const published = await session.query<{ publication: string; members: Published[] }>(
    `SELECT publication, json_agg(json_build_object('catalog', catalog, 'oid', oid, 'what', what, 'name', name, 'sql', sql) ORDER BY what, name) AS members
       FROM (
     SELECT 'pg_publication_rel'::regclass::oid::int8::float8 AS catalog, pr.oid::int8::float8 AS oid, p.pubname AS publication, 'TABLE' AS what,
            format('%s.%s', n.nspname, c.relname) AS name,
            format('ONLY %I.%I%s%s', n.nspname, c.relname,
                   (SELECT format(' (%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum))
                      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (pr.prattrs) HAVING count(*) > 0),
                   ' WHERE (' || pg_get_expr(pr.prqual, c.oid) || ')') AS sql
       FROM ${OLDER} CROSS JOIN LATERAL (SELECT oid, prpubid, prrelid, prqual, prattrs FROM pg_publication_rel) AS pr
       JOIN pg_publication p ON p.oid = pr.prpubid JOIN pg_class c ON c.oid = pr.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      UNION ALL
     -- PostgreSQL 14 lacks this catalog.
     SELECT d.classid::int8::float8, d.objid::int8::float8, p.pubname, 'TABLES IN SCHEMA', n.nspname, quote_ident(n.nspname)
       FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid
       JOIN pg_depend o ON o.classid = d.classid AND o.objid = d.objid AND o.refclassid = 'pg_publication'::regclass
       JOIN pg_publication p ON p.oid = o.refobjid
      WHERE d.classid = to_regclass('pg_catalog.pg_publication_namespace') AND d.refclassid = 'pg_namespace'::regclass
     ) AS published GROUP BY publication ORDER BY publication`,
  );
  return published.flatMap(({ publication, members }) => {
    const lost = members.filter(({ catalog, oid }) => !isHeld(chosen, objectKey(catalog, oid)));
    const more = lost.length - NAMED;
    const names = lost.slice(0, NAMED).map(({ name }) => name);
    const statements = WHAT.flatMap((kind) => {
      const added = lost.filter(({ what }) => what === kind).map(({ sql }) => sql);
      return added.length === 0
        ? []
        : `ALTER PUBLICATION ${quoteIdentifier(publication)} ADD ${kind} ${added.join(', ')}`;
    });
    return lost.length === 0
      ? []
      : {
          kind: 'publicationMember',
          count: lost.length,
          what: `${names.join(', ')}${more > 0 ? ` and ${more} more` : ''} in the publication ${publication}`,
          why: `excluded. To publish ${lost.length === 1 ? 'it' : 'them'} again: ${statements.join('; ')}`,
        };
  });
}

/** A table or a schema of a publication. */
interface Published {
  /** The OID of the catalog of the publication's members, and the member's there. */
  catalog: number;
  oid: number;
  what: (typeof WHAT)[number];
  name: string;
  /** In a statement that adds it. */
  sql: string;
}
