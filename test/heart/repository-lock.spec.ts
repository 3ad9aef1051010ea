import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { scopeOf, Secret } from '#config';
import { Failure } from '#common';
import type { BackupRequest } from '#engine';
import { eventually } from '../support/eventually.js';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, sql, storeOfTests } from '../support/servers.js';

const LOCK = '8317692697400340340';
/** Named as sessions of jobs are. */
const JOB = 'snapshotd backup 9 0123abcd';
const HELD = 'Waiting for the repository lock: held by ';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, 1))('on %s', (_title, server) => {
  /** URLs of a superuser, of the role that owns the repository, and of one that may do nothing but connect. */
  let admin: string;
  let owner: string;
  let stranger: string;
  let key: string;
  const clients: pg.Client[] = [];

  beforeAll(async () => {
    admin = await newDatabase(server);
    const roleOf = (what: string) => `${what}_${randomBytes(4).toString('hex')}`;
    const urlOf = (role: string) => admin.replace(/\/\/[^@]+@/, `//${role}:pw@`);
    [owner, stranger] = [urlOf(roleOf('owner')), urlOf(roleOf('stranger'))];
    const [ours, other] = [owner, stranger].map((url) => new URL(url).username);
    await sql(
      admin,
      `CREATE ROLE ${ours} LOGIN PASSWORD 'pw'; CREATE ROLE ${other} LOGIN PASSWORD 'pw';
       GRANT CREATE ON DATABASE ${new URL(admin).pathname.slice(1)} TO ${ours}`,
    );
    await sql(owner, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a');
    key = (await runBackup(store, owner, ['s'], { definitions: 'off' })).key;
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end().catch(() => undefined);
  });

  async function connect(url: string, name: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url, application_name: name });
    client.on('error', () => undefined); // Some of them are ended by what is tested.
    await client.connect();
    clients.push(client);
    return client;
  }

  /** A session that has the repository lock. */
  async function holder(url: string, name: string, how = 'pg_advisory_lock'): Promise<pg.Client> {
    const client = await connect(url, name);
    await client.query(`SELECT ${how}(${LOCK})`);
    return client;
  }

  /** Options of a job that says what it waits for, and that gives up soon. */
  function waiting(url: string, lockTimeoutMs = 60_000) {
    const journal = new MemoryJournal();
    const held = new Promise<string>((resolve) => {
      journal.onReport = ({ message }) => message.startsWith(HELD) && resolve(message);
    });
    const repository = { url: new Secret(url), scope: scopeOf(['s']), retryForMs: 0, lockTimeoutMs };
    return { held, journal, options: { journal, repository, definitions: 'off' as const } };
  }

  const failureOf = (running: Promise<unknown>): Promise<Failure> =>
    running.then(
      () => new Failure('NOT_FOUND', 'permanent', 'It did not fail.'),
      (error: unknown) => error as Failure,
    );

  const backUp = (more: Partial<BackupRequest>) => runBackup(store, owner, ['s'], more);

  test('a stranger with the lock is named at once, and holds off no job for longer than the setting', async () => {
    // A name that our own jobs have is of no use to another role.
    await holder(stranger, JOB);
    const role = new URL(stranger).username;
    for (const { url, run, address = '' } of [
      { url: owner, run: backUp },
      { url: owner, run: (more: object) => runVerify(store, owner, ['s'], key, more) },
      { url: owner, run: (more: object) => runRestore(store, owner, ['s'], key, more) },
      // Others' addresses are shown to those only who have pg_read_all_stats.
      { url: admin, run: backUp, address: 'address 127.0.0.1, ' },
    ]) {
      const { held, options } = waiting(url, 500);
      const began = Date.now();
      const failing = failureOf(run(options));
      const known = `${JOB} \\(role ${role}, ${address}pid \\d+\\)`;
      expect(await held).toMatch(new RegExp(`^${HELD}${known}$`));
      expect(Date.now() - began).toBeLessThan(2_000);
      const failure = await failing;
      expect(failure).toMatchObject({ code: 'REPOSITORY_BUSY', persistence: 'permanent' });
      expect(failure.message).toMatch(
        new RegExp(
          `^The repository lock was held for 0\\.5 seconds by ${known}, which is no job of snapshotd\\.$`,
        ),
      );
    }
  });

  test('a backup that waits for a stranger is not in the way of a restore', async () => {
    const other = await holder(stranger, 'psql');
    const backup = waiting(owner);
    const backingUp = backUp(backup.options);
    await backup.held;
    const restore = waiting(owner);
    const restoring = runRestore(store, owner, ['s'], key, restore.options);
    expect(await restore.held).toContain(`${HELD}psql (role stranger_`);
    await other.end();
    await Promise.all([backingUp, restoring]);
  });

  test('a stranger with the lock that the next one in turn holds is found out, too', async () => {
    await (await connect(stranger, 'psql')).query('SELECT pg_advisory_lock(8317692697417970286)');
    const failure = await failureOf(backUp(waiting(owner, 300).options));
    expect(failure.message).toContain('held for 0.3 seconds by psql (role stranger_');
  });

  test("a running job's time does not count", async () => {
    const job = await holder(owner, JOB);
    const { held, options } = waiting(owner, 300);
    const running = backUp(options);
    expect(await held).toContain(JOB);
    await sleep(500);
    await job.end();
    expect((await running).entities).toBe(1);
  });

  test('a session of our role with another name is no job', async () => {
    await holder(owner, 'psql', 'pg_advisory_lock_shared');
    const failure = await failureOf(runRestore(store, owner, ['s'], key, waiting(owner, 300).options));
    expect(failure.message).toMatch(
      /by psql \(role owner_\w+, address 127\.0\.0\.1, pid \d+\), which is no job/,
    );
  });

  test('later backups do not overtake a restore that waits', async () => {
    const first = await holder(owner, JOB, 'pg_advisory_lock_shared');
    const order: string[] = [];
    const restore = waiting(owner);
    const restoring = runRestore(store, owner, ['s'], key, restore.options).then(() => order.push('restore'));
    await restore.held;
    const backup = waiting(owner);
    const backingUp = backUp(backup.options).then(() => order.push('backup'));
    // Nothing but the restore's turn is in its way: the lock itself can be shared.
    expect(await backup.held).toMatch(new RegExp(`^${HELD}snapshotd restore 1 [0-9a-f]{8} `));
    await first.end();
    await Promise.all([restoring, backingUp]);
    expect(order).toEqual(['restore', 'backup']);
  });

  test('versions that wait in the queue of the lock itself keep us out, and are kept out', async () => {
    const backup = await holder(owner, JOB, 'pg_advisory_lock_shared');
    const old = await connect(owner, 'snapshotd restore 8 0123abcd');
    const restored = old.query(`SELECT pg_advisory_lock(${LOCK})`);
    const { held, options } = waiting(owner, 300);
    const running = backUp(options);
    expect(await held).toContain('snapshotd restore 8 0123abcd');
    await backup.end();
    await restored;
    await old.end();
    await running;
  });

  test('a job that waits is terminated at once', async () => {
    await holder(stranger, 'psql');
    for (const run of [backUp, (more: object) => runRestore(store, owner, ['s'], key, more)]) {
      const stop = new AbortController();
      const { held, options } = waiting(owner);
      const failing = failureOf(run({ ...options, signal: stop.signal }));
      await held;
      const began = Date.now();
      stop.abort(new Failure('TERMINATED', 'permanent', 'stop'));
      expect(await failing).toMatchObject({ code: 'TERMINATED' });
      expect(Date.now() - began).toBeLessThan(500);
    }
    const left = `SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND pid NOT IN (${await pidOf(clients[0])})
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    await eventually(async () => (await sql(admin, left))[0]?.['n'] === '0');
  });

  test("a takeover ends an earlier attempt's sessions, and looks at no other role's of that name", async () => {
    const earlier = await connect(owner, `${JOB} session 2`);
    const foreign = await connect(stranger, JOB);
    const gone = new Promise((resolve) => earlier.once('end', resolve));
    const { journal, options } = waiting(owner);
    journal.notes = { archives: [], sessions: [{ name: JOB }] };
    await backUp({ ...options, daemonId: '9' });
    await gone;
    expect((await foreign.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });

  async function pidOf(client: pg.Client | undefined): Promise<number> {
    const result = await client?.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    return result?.rows[0]?.pid ?? 0;
  }
});
