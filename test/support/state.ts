import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import pg from 'pg';
import { quoteTable } from '#postgres';
import { servers } from './servers.js';

/**
 * All that a restore must bring back, or must leave alone: every row as text, every sequence, and of the
 * catalogue what pg_dump does not show as well.
 */
export async function stateOf(url: string, schemas: string[]): Promise<Record<string, unknown>> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const ask = async (sql: string) => (await client.query<Record<string, unknown>>(sql, [schemas])).rows;
    const relations = (await ask(
      `SELECT n.nspname AS schema, c.relname AS name, CASE WHEN c.relispopulated THEN c.relkind ELSE 'u' END AS kind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'S', 'm') ORDER BY 1, 2`,
    )) as { schema: string; name: string; kind: string }[];
    const contents: Record<string, unknown> = {};
    for (const relation of relations) {
      if (relation.kind === 'u') continue; // A view that was never populated cannot be read.
      const name = quoteTable(relation);
      const rows =
        relation.kind === 'S'
          ? `SELECT last_value, is_called FROM ${name}`
          : `SELECT t::text AS row FROM ONLY ${name} t ORDER BY 1`;
      contents[name] = (await client.query<Record<string, unknown>>(rows)).rows.map((row) =>
        Object.values(row).join(),
      );
    }
    return {
      contents,
      constraints: await ask(
        `SELECT c.oid::regclass::text AS table, k.conname, k.contype, k.convalidated, k.condeferrable, k.condeferred,
                pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment
           FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ($1) AND NOT (k.contype = 'n' AND k.convalidated) ORDER BY 1, 2`,
      ),
      triggers: await ask(
        `SELECT t.tgrelid::regclass::text AS table, t.tgname, t.tgenabled
           FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ($1) AND NOT t.tgisinternal ORDER BY 1, 2`,
      ),
      domains: await ask(
        `SELECT t.oid::regtype::text AS domain, k.conname, k.convalidated, pg_get_constraintdef(k.oid) AS definition,
                obj_description(k.oid, 'pg_constraint') AS comment
           FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
          WHERE n.nspname = ANY ($1) ORDER BY 1, 2`,
      ),
      indexes: await ask(
        `SELECT x.indexrelid::regclass::text AS index, pg_get_indexdef(x.indexrelid) AS definition, x.indisclustered,
                x.indisreplident, x.indisvalid, x.indisprimary
           FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ($1) ORDER BY 1`,
      ),
      columns: await ask(
        `SELECT a.attrelid::regclass::text AS table, a.attname, a.attstattarget, a.attoptions, a.attidentity, a.attgenerated, a.attnotnull
           FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = ANY ($1) AND a.attnum > 0 ORDER BY 1, a.attnum`,
      ),
      tables: await ask(
        `SELECT c.oid::regclass::text AS table, c.relrowsecurity, c.relforcerowsecurity, c.relreplident
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY ($1) ORDER BY 1`,
      ),
    };
  } finally {
    await client.end();
  }
}

/** Schema and data as Debian's pg_dump shows them, for a server of its own version. */
export function pgDump(url: string, schemas: string[]): string {
  const binaries = servers.debianPostgres?.binaries ?? '';
  const args = [...schemas.flatMap((schema) => ['-n', `"${schema}"`]), url];
  const dump = execFileSync(join(binaries, 'pg_dump'), args, { encoding: 'utf8', maxBuffer: 1 << 30 });
  // Random words that newer versions print around a dump.
  return dump.replace(/^\\(un)?restrict .*$/gm, '');
}
