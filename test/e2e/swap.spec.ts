import pg from 'pg';
import type { DaemonStatus, KeptDatabaseView } from '#contracts';
import { CommandLine } from '../support/command-line.js';
import { eventually } from '../support/eventually.js';
import { newDatabase, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

describe('a restore into a new database', () => {
  let stack: Stack;
  /** The repository. */
  let url: string;
  let shop: string;
  let backup: DaemonStatus;

  const urlOf = (name: string) => {
    const database = new URL(url);
    database.pathname = `/${name}`;
    return database.href;
  };
  const namesIn = async (database: string) => {
    const rows = await sql<{ name: string }>(urlOf(database), 'SELECT name FROM s.product ORDER BY name');
    return rows.map(({ name }) => name);
  };
  const restore = (more: object) =>
    stack.call<DaemonStatus & { reason?: string }>('POST', '/repo/v1/startRestoreDaemon', {
      url: backup.backupUrl,
      ...more,
    });
  const kept = async () =>
    (await stack.ask<{ databases: KeptDatabaseView[] }>('GET', '/repo/v1/databases')).databases;

  beforeAll(async () => {
    url = await newDatabase();
    shop = new URL(url).pathname.slice(1);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.product (name text PRIMARY KEY); INSERT INTO s.product VALUES ('old')`,
    );
    stack = await Stack.start({ env: { REPOSITORY_URL: url, BACKUP_DEFINITIONS: 'required' } });
    backup = await stack.finished((await stack.startBackup()).id);
    await sql(url, `INSERT INTO s.product VALUES ('later')`);
  });
  afterAll(() => stack.stop());

  test.each([
    [
      { intoDatabase: 'x', tables: ['s.product'], backupFirst: true },
      /tables: .*; backupFirst: a restore into a new database/,
    ],
    [{ intoDatabase: 'snapshotd_recover_0' }, /names of unfinished databases/],
    [{ intoDatabase: '店'.repeat(22) }, /at most 63 bytes/],
    [{ swap: true }, /swap: it needs intoDatabase/],
    [{ intoDatabase: 'x', accept: ['otherOwner'] }, /accept: it needs swap/],
    [{ intoDatabase: 'x', swap: true, accept: ['everything'] }, /must be one of replicationSlots, /],
    [{ intoDatabase: 'x', privilegedRoles: true }, /privilegedRoles: it needs createRoles/],
    [{ intoDatabase: 'x', noOwner: true, createRoles: true }, /omit createRoles or noOwner/],
  ])('refuses %j', async (options, reason) => {
    const { status, body } = await restore(options);
    expect(status).toBe(400);
    expect(body.reason).toMatch(reason);
  });

  test('takes the place of the live one, which is kept until somebody drops it', async () => {
    // Without a swap, it appears beside the live one.
    const beside = await stack.finished((await restore({ intoDatabase: `${shop}_copy` })).body.id);
    expect(beside).toMatchObject({ status: 'COMPLETED', database: `${shop}_copy`, errorMessage: null });
    expect(beside.progresssMessage).toBe(`Finished: RESTORE (into the new database ${shop}_copy)`);
    expect(await namesIn(`${shop}_copy`)).toEqual(['old']);
    expect(await namesIn(shop)).toEqual(['later', 'old']);
    expect(await kept()).toEqual([]);
    const again = await stack.finished((await restore({ intoDatabase: `${shop}_copy` })).body.id);
    expect(again.errorMessage).toMatch(/is not empty\. Nothing was changed/);

    const swapped = await stack.finished(
      (await restore({ intoDatabase: `${shop}_new`, swap: true })).body.id,
    );
    expect(swapped.errorMessage).toBeNull();
    const { keptDatabase = '' } = swapped;
    expect(keptDatabase).toMatch(new RegExp(`^${shop}_before_\\d{8}_\\d{6}$`));
    expect(swapped.database).toBe(shop);
    expect(swapped.progresssMessage).toMatch(
      new RegExp(
        `rows written since \\S+Z are not in it, but in the old database, kept as ${keptDatabase}\\)$`,
      ),
    );
    expect(await namesIn(shop)).toEqual(['old']);
    expect(await namesIn(keptDatabase)).toEqual(['later', 'old']);
    expect(await kept()).toEqual([
      expect.objectContaining({ name: keptDatabase, of: shop, daemonId: swapped.id }),
    ]);

    // The worker goes on with the new database, and with the archives of the old one.
    const next = await stack.finished((await stack.startBackup()).id);
    expect(next.errorMessage).toBeNull();
    const older = await stack.finished((await restore({})).body.id);
    expect(older.errorMessage).toBeNull();
    expect(stack.logs()).not.toContain('Takes no jobs');

    // Only the kept database can be dropped, and only while nobody uses it.
    for (const name of [shop, `${shop}_copy`, 'postgres']) {
      const { status } = await stack.call('DELETE', `/repo/v1/databases/${name}`);
      expect(status).toBe(404);
    }
    const client = new pg.Client(urlOf(keptDatabase));
    await client.connect();
    const refused = await stack.ask<DaemonStatus>('DELETE', `/repo/v1/databases/${keptDatabase}`);
    expect(await stack.finished(refused.id)).toMatchObject({
      type: 'DROP',
      status: 'FAILED',
      errorMessage: expect.stringContaining('in use and was not dropped: it has sessions') as string,
    });
    await client.end();
    await eventually(async () => {
      const [users] = await sql(
        urlOf(shop),
        `SELECT FROM pg_stat_activity WHERE datname = '${keptDatabase}'`,
      );
      return users === undefined;
    });
    const user = new CommandLine({ SNAPSHOTD_URL: stack.url, SNAPSHOTD_TOKEN: stack.sessionToken });
    expect((await user.run(['databases'])).stdout).toContain(keptDatabase);
    const unconfirmed = await user.run(['databases', 'drop', keptDatabase]);
    expect(unconfirmed).toMatchObject({ code: 2, stderr: expect.stringContaining('needs --yes') as string });
    const dropped = await user.run(['databases', 'drop', keptDatabase, '--yes', '--wait']);
    expect(dropped).toMatchObject({ code: 0 });
    expect(dropped.stdout).toContain(`Finished: DROP (the database ${keptDatabase})`);
    expect(await kept()).toEqual([]);
    expect(await sql(urlOf(shop), `SELECT FROM pg_database WHERE datname = '${keptDatabase}'`)).toEqual([]);
    expect(await namesIn(shop)).toEqual(['old']);
  });
});
