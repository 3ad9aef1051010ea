import { randomBytes } from 'node:crypto';
import { scopeOf, Secret } from '#config';
import type { DatabaseIdentity, KeptDatabase } from '#contracts';
import { recoverInto, type RecoverIntoRequest } from '#engine';
import { MemoryJournal, runBackup } from '../support/heart.js';
import { newDatabase, postgresMajors, sql, storeOfTests } from '../support/servers.js';
import { StatementProxy } from '../support/statement-proxy.js';

const store = storeOfTests();

/** The calls of the records of a swap. */
class MemoryRecords {
  readonly calls: [string, string][] = [];
  /** The worker dies when the swap is committed. */
  diesAfterCommit = false;

  async begin({ name }: KeptDatabase): Promise<void> {
    this.calls.push(['begin', name]);
  }

  async committed({ databaseName, databaseOid }: DatabaseIdentity): Promise<void> {
    if (this.diesAfterCommit) throw new Error('the worker died');
    this.calls.push(['committed', `${databaseName} ${databaseOid}`]);
  }

  async failed({ name }: KeptDatabase): Promise<void> {
    this.calls.push(['failed', name]);
  }
}

describe.each(postgresMajors)('into a new database of %s, and swapped', (_title, server) => {
  let url: string;
  let live: string;
  let key: string;

  const urlOf = (name: string) => {
    const database = new URL(url);
    database.pathname = `/${name}`;
    return database.href;
  };
  const rowsOf = async (name: string) => {
    const rows = await sql<{ a: number }>(urlOf(name), 'SELECT a FROM s.t ORDER BY a');
    return rows.map(({ a }) => a);
  };
  const request = (more: Partial<RecoverIntoRequest> & Pick<RecoverIntoRequest, 'journal' | 'records'>) => ({
    daemonId: '7',
    version: '0.0.0',
    repository: { url: new Secret(url), scope: scopeOf('*'), retryForMs: 0, lockTimeoutMs: 60_000 },
    store,
    signal: new AbortController().signal,
    key,
    intoDatabase: `new_${randomBytes(4).toString('hex')}`,
    swap: true,
    accept: [],
    parallelJobs: 2,
    ...more,
  });

  beforeAll(async () => {
    url = await newDatabase(server);
    live = new URL(url).pathname.slice(1);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int); INSERT INTO s.t VALUES (1)');
    ({ key } = await runBackup(store, url, '*', { definitions: 'required' }));
    await sql(url, 'INSERT INTO s.t VALUES (2)');
  });

  test('an attempt that dies before the swap leaves the complete database to the next one, which only swaps', async () => {
    const proxy = await StatementProxy.to(url);
    let cuts = 1;
    proxy.before = async ({ sql: statement }) => {
      if (/^ALTER DATABASE .* RENAME TO .*_before_/.test(statement) && cuts-- > 0)
        await sql(
          server,
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'snapshotd recover 7 %'`,
        );
    };
    try {
      const journal = new MemoryJournal();
      const records = new MemoryRecords();
      const repository = {
        url: new Secret(proxy.url),
        scope: scopeOf('*'),
        retryForMs: 0,
        lockTimeoutMs: 60_000,
      };
      const job = request({ journal, records, repository });
      await expect(recoverInto(job)).rejects.toMatchObject({
        persistence: 'transient',
        message: expect.stringContaining(`The new database ${job.intoDatabase} is complete.`) as string,
      });
      expect(await rowsOf(live)).toEqual([1, 2]);
      expect(await rowsOf(job.intoDatabase)).toEqual([1]);

      journal.lines.length = 0;
      const result = await recoverInto(job);
      expect(journal.messages).not.toContain('Creating the database');
      expect(result).toMatchObject({ database: live, entities: 1 });
      expect(await rowsOf(live)).toEqual([1]);
      expect(await rowsOf(result.keptDatabase ?? '')).toEqual([1, 2]);
      const kept = records.calls.filter(([call]) => call !== 'committed').map(([, name]) => name);
      expect(records.calls.map(([call]) => call)).toEqual([
        'begin',
        ...['failed', 'failed'], // By both attempts, as neither knows of the other.
        'begin',
        'committed',
      ]);
      expect(kept.at(-1)).toBe(result.keptDatabase);
    } finally {
      await proxy.close();
    }
  });

  test('an attempt that dies after the commit of the swap leaves a committed one, which the next one finds out', async () => {
    const journal = new MemoryJournal();
    const records = new MemoryRecords();
    const job = request({ journal, records, otherDatabase: true });
    records.diesAfterCommit = true;
    await expect(recoverInto(job)).rejects.toThrow('the worker died');
    records.diesAfterCommit = false;
    const result = await recoverInto(job);
    const [{ oid = 0 } = {}] = await sql<{ oid: number }>(
      server,
      'SELECT oid::int8::float8 AS oid FROM pg_database WHERE datname = $1',
      [live],
    );
    expect(records.calls).toEqual([
      ['begin', result.keptDatabase],
      ['committed', `${live} ${oid}`],
    ]);
    expect(result).toMatchObject({ database: live, entities: 1 });
    const names = await sql(server, 'SELECT FROM pg_database WHERE datname = $1', [job.intoDatabase]);
    expect(names).toEqual([]);
  });

  test("a swap of the database with snapshotd's own state is refused before anything is built", async () => {
    await sql(url, `CREATE SCHEMA own; COMMENT ON SCHEMA own IS 'The state of snapshotd itself'`);
    const job = request({ journal: new MemoryJournal(), records: new MemoryRecords(), otherDatabase: true });
    await expect(recoverInto(job)).rejects.toMatchObject({ code: 'SWAP_REFUSED' });
    const databases = await sql(server, `SELECT FROM pg_database WHERE datname = $1`, [job.intoDatabase]);
    expect(databases).toEqual([]);
  });
});
