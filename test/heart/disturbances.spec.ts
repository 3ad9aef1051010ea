import { randomInt } from 'node:crypto';
import pg from 'pg';
import { Failure } from '#common';
import { DownloadedArchive } from '../support/archive.js';
import type { BackupRequest } from '#engine';
import { MemoryJournal, runBackup } from '../support/heart.js';
import {
  newDatabase,
  oneOf,
  postgresMajors,
  sample,
  seed,
  storeOfTests,
  thorough,
} from '../support/servers.js';
import { StatementProxy } from '../support/statement-proxy.js';

const store = storeOfTests();

const TABLES = ['a', 'b', 'c'];
const ROWS = 100;
const eachTable = (statement: (table: string) => string) => TABLES.map(statement).join('; ');

const create = (table: string) =>
  `CREATE TABLE ${table} (id int PRIMARY KEY DEFAULT nextval('ids'), version int NOT NULL, filler text)`;
const fill = (table: string, version: number) =>
  `INSERT INTO ${table} (version, filler) SELECT ${version}, repeat(md5(i::text), 10) FROM generate_series(1, ${ROWS}) i`;
const update = (version: number) => eachTable((table) => `UPDATE ${table} SET version = ${version}`);

/** Brings every row of every table to a version, on its own way. */
interface Disturbance {
  title: string;
  /** One transaction. */
  sql: (version: number) => string;
  /** A statement that cannot be part of a transaction. It may give up without an effect. */
  afterwards?: string;
  /** A second transaction, two statements of the backup later. */
  later?: string;
}

const DISTURBANCES: Disturbance[] = [
  {
    title: 'heavy writes',
    sql: (version) =>
      `UPDATE c SET version = ${version}; DELETE FROM a; ${fill('a', version)}; DELETE FROM b WHERE id % 2 = 0;
       UPDATE b SET version = ${version}, filler = repeat(left(filler, 320), 3)`,
  },
  {
    title: 'TRUNCATE and reload',
    sql: (version) => `TRUNCATE ${TABLES.join()}; ${eachTable((table) => fill(table, version))}`,
  },
  {
    title: 'ALTER TABLE with a rewrite',
    sql: (version) =>
      `${eachTable(
        (table) =>
          `ALTER TABLE ${table} ALTER version TYPE ${version % 2 === 0 ? 'bigint' : 'int'},
           ADD mark_${version} text DEFAULT md5(random()::text)`,
      )}; ${update(version)}`,
  },
  {
    title: 'DROP and CREATE',
    sql: (version) => eachTable((table) => `DROP TABLE ${table}; ${create(table)}; ${fill(table, version)}`),
  },
  {
    title: 'DROP SEQUENCE',
    sql: (version) =>
      `${version % 2 === 0 ? 'DROP SEQUENCE IF EXISTS counter' : 'CREATE SEQUENCE IF NOT EXISTS counter'}; ${update(version)}`,
  },
  {
    title: 'CREATE TABLE',
    sql: (version) =>
      `DROP TABLE IF EXISTS new_${version % 3}; CREATE TABLE new_${version % 3} AS SELECT i AS id, ${version} AS version FROM generate_series(1, 9) i; ${update(version)}`,
  },
  {
    // Locks that were taken for an older list of tables leave a new one open to this.
    title: 'CREATE TABLE and a TRUNCATE of it soon after',
    sql: (version) => `DROP TABLE IF EXISTS new; CREATE TABLE new AS SELECT 1 AS id, ${version} AS version`,
    later: 'TRUNCATE new; INSERT INTO new VALUES (2, 3)',
  },
  { title: 'VACUUM FULL', sql: update, afterwards: `VACUUM (FULL) ${TABLES.join()}` },
];

/** All of a repository that an archive holds, in a form that two of them can be compared in. */
interface Contents {
  tables: Record<string, { columns: string[]; rows: string[] }>;
  sequences: string[];
}

/** A schema to be disturbed, with a direct way to it and one that can be held up. */
class Place {
  private constructor(
    readonly schema: string,
    private readonly client: pg.Client,
    readonly proxy: StatementProxy,
  ) {}

  static async open(url: string, schema: string): Promise<Place> {
    const client = new pg.Client(url);
    await client.connect();
    await client.query(`SET search_path TO ${schema}; SET client_min_messages TO warning`);
    return new Place(schema, client, await StatementProxy.to(url));
  }

  /** Resets the repository to version 1. */
  async create(): Promise<void> {
    await this.client.query(
      `DROP SCHEMA IF EXISTS ${this.schema} CASCADE; CREATE SCHEMA ${this.schema}; CREATE SEQUENCE ids; CREATE SEQUENCE counter;
       ${eachTable((table) => `${create(table)}; ${fill(table, 1)}`)}`,
    );
  }

  /** @returns whether it was committed, or gave up because it would have had to wait for longer */
  async disturb({ sql, afterwards }: Disturbance, version: number, patienceMs: number): Promise<boolean> {
    const committed = await this.commit(sql(version), patienceMs);
    if (committed && afterwards !== undefined) await this.client.query(afterwards).catch(unlessLocked);
    return committed;
  }

  /** Runs statements as one transaction. @returns whether it was committed */
  async commit(statements: string, patienceMs: number): Promise<boolean> {
    await this.client.query(`SET lock_timeout TO ${patienceMs}`);
    try {
      await this.client.query(`BEGIN; ${statements}; COMMIT`);
      return true;
    } catch (error) {
      await this.client.query('ROLLBACK');
      unlessLocked(error);
      return false;
    }
  }

  async contents(): Promise<Contents> {
    const { rows: tables } = await this.client.query<{ name: string; columns: string[] }>(
      `SELECT c.relname AS name,
              array_agg(format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) ORDER BY a.attnum) AS columns
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
        GROUP BY c.relname ORDER BY c.relname COLLATE "C"`,
      [this.schema],
    );
    const rowsOf = ({ name }: { name: string }) =>
      `SELECT '${name}' AS name, array(SELECT t::text FROM ONLY ${name} t) AS rows`;
    const { rows } = await this.client.query<{ name: string; rows: string[] }>(
      tables.map(rowsOf).join(' UNION ALL '),
    );
    const { rows: sequences } = await this.client.query<{ name: string }>(
      "SELECT relname AS name FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'S' ORDER BY 1",
      [this.schema],
    );
    const rowsByName = new Map(rows.map((table) => [table.name, table.rows]));
    return {
      tables: Object.fromEntries(
        tables.map(({ name, columns }) => [name, { columns, rows: (rowsByName.get(name) ?? []).sort() }]),
      ),
      sequences: sequences.map(({ name }) => name),
    };
  }

  async close(): Promise<void> {
    await this.client.end();
    await this.proxy.close();
  }
}

function unlessLocked(error: unknown): void {
  if ((error as { code?: unknown }).code !== '55P03') throw error; // lock_not_available
}

/** The rows of an archive; none of the values here needs quotes. */
async function archivedContents(key: string): Promise<Contents> {
  const archive = await DownloadedArchive.of(store, key);
  const files = archive.readAll();
  const manifest = archive.manifest(files.get('manifest.json'));
  const tables: Contents['tables'] = {};
  let highestId = 0;
  for (const { name, columns, entries } of manifest.tables) {
    const lines = entries.flatMap((entry) => linesOf(files.get(entry.name)).slice(1));
    for (const line of lines) highestId = Math.max(highestId, Number.parseInt(line));
    tables[name] = {
      columns: columns.map((column) => `${column.name} ${column.type} ${column.notNull ? 't' : 'f'}`),
      rows: lines.map((line) => `(${line})`).sort(),
    };
  }
  // A sequence is outside of the instant, but behind its rows it would give their numbers out once more.
  const ids = manifest.sequences.find(({ name }) => name === 'ids');
  expect(Number(ids?.lastValue)).toBeGreaterThanOrEqual(highestId);
  return { tables, sequences: manifest.sequences.map(({ name }) => name).sort() };
}

function linesOf(csv: Buffer | undefined): string[] {
  return csv?.toString().trimEnd().split('\n') ?? [];
}

/** A few blocks for each COPY, so that two sessions read these tables. */
const CUT_UP = { parallelJobs: 2, chunkBytes: 16 * 1024 };
/** pg_dump locks all tables of the database; the schemas of the other runs are none of its business. */
const WITHOUT_DEFINITIONS = { definitions: 'off' } as const;

type Outcome = 'old' | 'new' | 'failed';

let runs = 0;

/** A backup that either gives an archive, or a failure that says what failed and leaves nothing behind. */
async function archiveOrFailure(
  url: string,
  schema: string,
  more: Partial<BackupRequest> = {},
): Promise<string | Failure> {
  const journal = new MemoryJournal();
  const daemonId = String(++runs);
  const result = await runBackup(store, url, [schema], { daemonId, journal, ...CUT_UP, ...more }).catch(
    (error: unknown) => error,
  );
  if (!(result instanceof Error)) return (result as { key: string }).key;
  expect(result).toBeInstanceOf(Failure);
  const clear = expect.stringMatching(/^(REPOSITORY_CHANGING|TABLE_LOCKED)$/);
  expect(result).toMatchObject({ code: clear, message: expect.any(String) });
  expect((result as Failure).persistence).toBe('transient');
  expect(journal.notes.archives.length).toBeGreaterThan(0);
  for (const { key } of journal.notes.archives)
    expect(await store.open(key, new AbortController().signal)).toBeUndefined();
  return result as Failure;
}

/** Every session of a backup works for it but the one that watches. */
const isObserver = (session: string) => session.endsWith(' observer');

/** One backup with a disturbance just before one of its statements. */
async function disturbedAt(place: Place, step: number, disturbance: Disturbance): Promise<Outcome> {
  await place.create();
  const states = [await place.contents()];
  const disturb = async (sql: string | undefined) => {
    const committed = await (sql === undefined
      ? place.disturb(disturbance, 2, PATIENCE_MS)
      : place.commit(sql, PATIENCE_MS));
    if (committed) states.push(await place.contents());
  };
  const { later } = disturbance;
  const thrownIn: Promise<void>[] = [];
  let position = 0;
  place.proxy.before = async ({ session }) => {
    if (isObserver(session)) return;
    if (position === step) thrownIn.push(disturb(undefined));
    if (position === step + 2 && later !== undefined) thrownIn.push(disturb(later));
    position++;
    await Promise.allSettled(thrownIn);
  };
  const result = await archiveOrFailure(place.proxy.url, place.schema, WITHOUT_DEFINITIONS);
  await Promise.all(thrownIn);
  if (result instanceof Failure) return 'failed';
  const archived = await archivedContents(result);
  const shown = states.findIndex((state) => JSON.stringify(state) === JSON.stringify(archived));
  // If it matches none, shows the difference to the first one.
  if (shown === -1) expect({ step, ...archived }).toEqual({ step, ...states[0] });
  return shown === 0 ? 'old' : 'new';
}

/** How long a disturbance waits for a lock. */
const PATIENCE_MS = 100;

/** The number of parallel runs: they mostly wait. */
const PLACES = 4;

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  let places: Place[];
  let steps: string[];

  beforeAll(async () => {
    const url = await newDatabase(server);
    places = await Promise.all(Array.from({ length: PLACES }, (_, i) => Place.open(url, `place_${i}`)));
    steps = await recordSteps();
  });
  afterAll(async () => {
    for (const place of places) await place.close();
  });

  /** The statements of an undisturbed backup. */
  async function recordSteps(): Promise<string[]> {
    const [place] = places;
    if (place === undefined) return [];
    const statements: string[] = [];
    place.proxy.before = async ({ session, sql }) => {
      if (!isObserver(session)) statements.push(sql);
    };
    await place.create();
    await runBackup(store, place.proxy.url, [place.schema], { ...CUT_UP, ...WITHOUT_DEFINITIONS });
    expect(statements.filter((sql) => sql.startsWith('SET TRANSACTION SNAPSHOT')).length).toBe(1);
    return statements;
  }

  test.each(sample(DISTURBANCES, 6).map((one) => [one.title, one] as const))(
    'a backup beside %s at every step is one instant or a clear failure',
    async (_what, disturbance) => {
      expect(steps.length).toBeGreaterThan(0);
      const stride = thorough ? 1 : 8;
      const first = seed % stride;
      const left = [...steps.keys()].filter((step) => step % stride === first);
      const outcomes: Outcome[] = [];
      const results = await Promise.allSettled(
        places.map(async (place) => {
          for (let step = left.shift(); step !== undefined; step = left.shift())
            outcomes[step] = await disturbedAt(place, step, disturbance);
        }),
      );
      for (const result of results) if (result.status === 'rejected') throw result.reason;
      const count = (wanted: Outcome) => outcomes.filter((outcome) => outcome === wanted).length;
      expect(count('new')).toBeGreaterThan(0);
      expect(count('old')).toBeGreaterThan(0);
    },
  );
});

test.each(oneOf(postgresMajors, 1))(
  'on %s, backups beside a writer that never rests, and changes definitions at random, are one instant each',
  async (_title, server) => {
    const place = await Place.open(await newDatabase(server), 'place');
    await place.create();
    const history = [await place.contents()];
    let stopped = false;
    const writing = (async () => {
      for (let version = 2; !stopped; version++) {
        const disturbance = DISTURBANCES[randomInt(DISTURBANCES.length)];
        // A statement that gives up skips its version.
        if (disturbance !== undefined && (await place.disturb(disturbance, version, 20)))
          history.push(await place.contents());
      }
    })();
    const archives: { key: string; notBefore: number }[] = [];
    try {
      while (archives.length < 8) {
        const notBefore = history.length - 1;
        const result = await archiveOrFailure(place.proxy.url, place.schema);
        if (!(result instanceof Failure)) archives.push({ key: result, notBefore });
      }
    } finally {
      stopped = true;
      await writing;
    }
    const versions = history.map((contents) => JSON.stringify(contents));
    const shown: number[] = [];
    for (const { key, notBefore } of archives) {
      const archived = await archivedContents(key);
      const version = versions.indexOf(JSON.stringify(archived));
      if (version < notBefore) expect(archived).toEqual(history[notBefore]);
      shown.push(version);
    }
    expect(new Set(shown).size).toBeGreaterThan(4);
    await place.close();
  },
);
