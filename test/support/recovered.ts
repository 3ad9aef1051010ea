import pg from 'pg';
import type { RecoverRequest, RecoverResult } from '#engine';
import { type Manifest, openArchive, type OpenArchive } from '#archive';
import type { ObjectStore } from '#storage';
import { runBackup, runRecover } from './heart.js';
import { servers, sql } from './servers.js';
import { pgDump, stateOf } from './state.js';

/** A whole database in forms that can be compared. */
export interface WholeDatabase {
  contents: Record<string, string[]>;
  catalog: Record<string, unknown>;
  largeObjects: unknown;
  /** In lines; only of a server whose pg_dump is there. */
  dump: string[];
}

/** A database, and the one that a recover built from its archive. */
export interface Recovered {
  before: WholeDatabase;
  after: WholeDatabase;
  losses: RecoverResult['losses'];
  omissions: string[];
}

/**
 * Backs a database up, recovers it into another one on the same server, and drops that.
 * @param older whether to read the archive as those of format 1, which list no statements
 * @param as the URL of the role that backs up and recovers; the tests' superuser compares
 */
export async function recoverBeside(
  store: ObjectStore,
  url: string,
  { as = url, older = false, ...more }: Partial<RecoverRequest> & { as?: string; older?: boolean } = {},
): Promise<Recovered> {
  const { key, omissions } = await runBackup(store, as, '*', { definitions: 'required' });
  const database = `${databaseOf(url)}_again`;
  const archive = await archiveOf(store, key);
  if (older) Object.assign(archive.manifest, asOlder(archive.manifest));
  const { losses } = await runRecover(store, at(as, 'postgres'), key, database, { archive, ...more });
  try {
    const [before, after] = await Promise.all([url, at(url, database)].map(wholeDatabase));
    if (before === undefined || after === undefined) throw new Error('unreachable');
    return { before, after, losses, omissions };
  } finally {
    await sql(at(url, 'postgres'), `DROP DATABASE ${database} WITH (FORCE)`);
  }
}

async function archiveOf(store: ObjectStore, key: string): Promise<OpenArchive> {
  const { signal } = new AbortController();
  const object = await store.find(key, signal);
  if (object === undefined) throw new Error(`no archive ${key}`);
  return openArchive(store.openListed(object, signal));
}

/** The manifest without the facts that format 2 added for a recover. */
function asOlder({ definitions }: Manifest) {
  return {
    definitions: definitions && { ...definitions, statements: undefined, beforeRows: undefined },
    populatedViews: undefined,
    roles: undefined,
  };
}

export function databaseOf(url: string): string {
  return new URL(url).pathname.slice(1);
}

/** The same server and role with another database. */
export function at(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${database}`;
  return other.href;
}

export async function wholeDatabase(url: string): Promise<WholeDatabase> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    // The database's own settings could bend what is read.
    await client.query(`SET search_path TO ''; SET statement_timeout TO 0; SET datestyle TO iso`);
    const { rows: schemas } = await client.query<{ name: string }>(
      `SELECT nspname AS name FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1`,
    );
    const { contents, ...catalog } = await stateOf(
      client,
      schemas.map(({ name }) => name),
    );
    const { rows: largeObjects } = await client.query(
      `SELECT m.oid, lomowner::regrole, ARRAY(SELECT acl::text FROM unnest(coalesce(lomacl, acldefault('L', lomowner))) AS acl ORDER BY 1) AS rights, md5(lo_get(m.oid)) AS bytes, obj_description(m.oid, 'pg_largeobject') AS comment
         FROM pg_largeobject_metadata m ORDER BY 1`,
    );
    return {
      contents: contents as WholeDatabase['contents'],
      catalog: { ...catalog, columns: (catalog['columns'] as Column[] | null)?.filter(isThere) ?? [] },
      largeObjects,
      dump: isDebian(url) ? (await pgDump(url)).replaceAll(databaseOf(url), 'DATABASE').split('\n') : [],
    };
  } finally {
    await client.end();
  }
}

interface Column {
  attname: string;
}

/** A new table has no dropped columns. */
function isThere({ attname }: Column): boolean {
  return !attname.startsWith('........pg.dropped.');
}

function isDebian(url: string): boolean {
  const { debianPostgres } = servers;
  return debianPostgres !== undefined && new URL(debianPostgres.url).port === new URL(url).port;
}
