import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { quoteLiteral, quoteTable } from '#postgres';
import { servers } from './servers.js';

const run = promisify(execFile);

/** Without `pg_attver`, an internal number that PostgreSQL's releases of November 2026 keep there for each table. */
const COLUMN_OPTIONS = `ARRAY(SELECT option FROM unnest(a.attoptions) AS option WHERE option NOT LIKE 'pg\\_attver=%')`;

const CATALOGUE = {
  constraints: `
    SELECT c.oid::regclass::text AS table, k.conname, k.contype, k.convalidated, k.condeferrable, k.condeferred,
           pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment,
           nullif(k.conindid, 0)::regclass::text AS index
      FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY ($1) AND NOT (k.contype = 'n' AND k.convalidated) ORDER BY 1, 2`,
  triggers: `
    SELECT t.tgrelid::regclass::text AS table, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) AS definition
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY ($1) AND NOT t.tgisinternal ORDER BY 1, 2`,
  keys: `
    SELECT t.tgrelid::regclass::text AS table, k.conname, t.tgfoid::regproc::text AS function, t.tgenabled
      FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY ($1) AND t.tgisinternal AND k.contype = 'f' ORDER BY 1, 2, 3`,
  domains: `
    SELECT t.oid::regtype::text AS domain, k.conname, k.convalidated, pg_get_constraintdef(k.oid) AS definition,
           obj_description(k.oid, 'pg_constraint') AS comment
      FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
     WHERE n.nspname = ANY ($1) ORDER BY 1, 2`,
  indexes: `
    SELECT x.indexrelid::regclass::text AS index, pg_get_indexdef(x.indexrelid) AS definition, x.indisclustered,
           x.indisreplident, x.indisvalid, x.indisprimary, obj_description(x.indexrelid, 'pg_class') AS comment
      FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY ($1) ORDER BY 1`,
  columns: `
    SELECT a.attrelid::regclass::text AS table, a.attname, format_type(a.atttypid, a.atttypmod) AS type,
           a.attstattarget, ${COLUMN_OPTIONS} AS options, a.attidentity, a.attgenerated, a.attnotnull,
           (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) AS default
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY ($1) AND a.attnum > 0 ORDER BY 1, a.attnum`,
  tables: `
    SELECT c.oid::regclass::text AS table, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
           c.relreplident, c.relispopulated, c.reloptions, pg_get_expr(c.relpartbound, c.oid) AS bound, c.relacl::text AS rights
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY ($1) ORDER BY 1`,
  sequences: `
    SELECT q.seqrelid::regclass::text AS sequence, q.seqstart::text, q.seqincrement::text, q.seqmin::text,
           q.seqmax::text, q.seqcache::text, q.seqcycle
      FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY ($1) ORDER BY 1`,
};

/** One query for everything, because the tests run it very often. */
const WHOLE_CATALOGUE = `SELECT ${Object.entries(CATALOGUE)
  .map(([name, query]) => `(SELECT json_agg(fact) FROM (${query}) AS fact) AS ${name}`)
  .join(', ')}`;

/**
 * Everything that a restore must bring back or leave as it is: all rows as text, all sequences, and the parts of the
 * catalog that pg_dump does not show.
 */
export async function stateOf(
  database: string | pg.Client,
  schemas: string[],
): Promise<Record<string, unknown>> {
  if (typeof database !== 'string')
    return { contents: await contentsOf(database, schemas), ...(await catalogueOf(database, schemas)) };
  const client = new pg.Client(database);
  await client.connect();
  try {
    return await stateOf(client, schemas);
  } finally {
    await client.end();
  }
}

async function catalogueOf(client: pg.Client, schemas: string[]): Promise<Record<string, unknown>> {
  const { rows } = await client.query<Record<string, unknown>>(WHOLE_CATALOGUE, [schemas]);
  return rows[0] ?? {};
}

/** Relations per statement: the server has room for a limited number of locks. */
const BATCH = 500;

interface Relation {
  schema: string;
  name: string;
  kind: 'r' | 'S' | 'm';
}

async function contentsOf(client: pg.Client, schemas: string[]): Promise<Record<string, string[]>> {
  // A view that was never populated cannot be read.
  const { rows: relations } = await client.query<Relation>(
    `SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind
       FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
      WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'S', 'm') AND c.relispopulated ORDER BY 1, 2`,
    [schemas],
  );
  const contents: Record<string, string[]> = {};
  for (let from = 0; from < relations.length; from += BATCH) {
    const { rows } = await client.query<{ name: string; rows: string[] }>(
      relations
        .slice(from, from + BATCH)
        .map(rowsOf)
        .join(' UNION ALL '),
    );
    for (const relation of rows) contents[relation.name] = relation.rows;
  }
  return contents;
}

function rowsOf(relation: Relation): string {
  const name = quoteTable(relation);
  const rows =
    relation.kind === 'S'
      ? `SELECT format('%s,%s', last_value, is_called) FROM ${name}`
      : `SELECT t::text FROM ONLY ${name} t ORDER BY 1`;
  return `SELECT ${quoteLiteral(name)} AS name, to_json(array(${rows})) AS rows`;
}

/**
 * Schema and data in Debian's pg_dump, for a server of the same version.
 * @param schemas missing for the whole database with its properties
 */
export async function pgDump(url: string, schemas?: string[]): Promise<string> {
  const binaries = servers.debianPostgres?.binaries ?? '';
  const args =
    schemas === undefined ? ['-C', url] : [...schemas.flatMap((schema) => ['-n', `"${schema}"`]), url];
  const { stdout } = await run(join(binaries, 'pg_dump'), args, { maxBuffer: 1 << 30 });
  // Removes the random words around a dump and the OIDs in the names of internal triggers.
  return stdout.replace(/^\\(un)?restrict .*$/gm, '').replace(/(RI_ConstraintTrigger_\w)_\d+/g, '$1');
}
