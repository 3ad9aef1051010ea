import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { Failure } from '#common';
import { type KeptDatabase, SWAP_OBSTACLES } from '#contracts';
import {
  dropKeptDatabase,
  expectAccepted,
  findSwapObstacles,
  hasSwapped,
  planSwap,
  quoteIdentifier as quoted,
  Session,
  type Swap,
  swapDatabases,
} from '#postgres';
import { eventually } from '../support/eventually.js';
import { OwnServer } from '../support/own-server.js';
import { servers, sql } from '../support/servers.js';
import { StatementProxy } from '../support/statement-proxy.js';

const MAJORS = [
  ['the embedded PostgreSQL', undefined] as const,
  ...(servers.debianPostgres ? [["Debian's PostgreSQL", servers.debianPostgres.binaries] as const] : []),
];

describe.each(MAJORS)('on %s', (_title, binaries) => {
  let server: OwnServer;
  /** An owner of databases who is no superuser. */
  let owner: string;
  let ownerUrl: string;
  const sessions: Session[] = [];
  const never = new AbortController().signal;

  beforeAll(async () => {
    const settings = { wal_level: 'logical', max_prepared_transactions: '5' };
    server = await OwnServer.postgres({ binaries, settings });
    owner = `owner ${randomBytes(3).toString('hex')}`;
    await sql(server.url, `CREATE ROLE ${quoted(owner)} LOGIN CREATEDB PASSWORD 'pw'`);
    const url = new URL(server.url);
    [url.username, url.password] = [encodeURIComponent(owner), 'pw'];
    ownerUrl = url.href;
  });
  afterEach(() => Promise.all(sessions.splice(0).map((session) => session.close())));
  afterAll(() => server.stop());

  const urlOf = (url: string, name: string) => {
    const database = new URL(url);
    database.pathname = `/${encodeURIComponent(name)}`;
    return database.href;
  };

  async function connect(url = ownerUrl): Promise<Session> {
    const session = await Session.open(urlOf(url, 'postgres'), { applicationName: 'swapping' });
    sessions.push(session);
    return session;
  }

  /** Creates a database that says who it is. */
  async function create(name: string): Promise<void> {
    await sql(urlOf(ownerUrl, 'postgres'), `CREATE DATABASE ${quoted(name)} TEMPLATE template0`);
    await sql(urlOf(ownerUrl, name), `CREATE TABLE me AS SELECT '${name}' AS name`);
  }

  async function createPair(): Promise<{ live: string; incoming: string }> {
    const live = `shop_${randomBytes(4).toString('hex')}`;
    const incoming = `${live}_new`;
    await create(live);
    await create(incoming);
    return { live, incoming };
  }

  async function contentOf(name: string): Promise<string | undefined> {
    const [row] = await sql<{ name: string }>(urlOf(server.url, name), 'SELECT name FROM me');
    return row?.name;
  }

  async function swapped(pair: { live: string; incoming: string }, url?: string): Promise<Swap> {
    const session = await connect(url);
    const swap = await planSwap(session, { ...pair, at: new Date() });
    await swapDatabases(session, swap, { connect: () => connect(url), signal: never });
    return swap;
  }

  const keptBy = ({ live, keptAs, mark }: Swap): KeptDatabase => ({
    name: keptAs,
    of: live.name,
    oid: live.oid,
    owner: live.owner,
    mark,
  });

  test('an owner with CREATEDB swaps databases under clients that reconnect all the time, and swaps them back', async () => {
    // 63 bytes: the kept name must end at a character boundary.
    const live = `${randomBytes(4).toString('hex')}"${'店'.repeat(18)}`;
    const incoming = `new ${live.slice(0, 15)}`;
    await create(live);
    await create(incoming);
    await sql(
      server.url,
      `COMMENT ON DATABASE ${quoted(live)} IS 'the shop'; ALTER DATABASE ${quoted(live)} SET work_mem TO '5MB';
       ALTER DATABASE ${quoted(incoming)} CONNECTION LIMIT 77`,
    );
    let stopping = false;
    const seen = new Set<string>();
    const errors = new Set<string | undefined>();
    const clients = Array.from({ length: 6 }, async () => {
      while (!stopping) {
        const client = new pg.Client(urlOf(ownerUrl, live));
        client.on('error', () => undefined);
        try {
          await client.connect();
          for (;;) {
            const { rows } = await client.query<{ name: string }>('SELECT name FROM me');
            for (const { name } of rows) seen.add(name);
            if (stopping) return;
          }
        } catch (error) {
          errors.add((error as { code?: string }).code);
        } finally {
          await client.end().catch(() => undefined);
        }
      }
    });
    await eventually(() => seen.has(live));
    const swap = await swapped({ live, incoming });
    await eventually(() => seen.has(incoming));
    expect(swap.keptAs).toMatch(/^[0-9a-f]{8}"店{10}_before_\d{8}_\d{6}$/u);
    expect(await contentOf(swap.keptAs)).toBe(live);

    // Properties stay with the database, under its new name.
    const propertiesOf = async (name: string) => {
      const [row] = await sql(
        server.url,
        `SELECT datconnlimit AS connections, shobj_description(oid, 'pg_database') AS comment,
                (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid) AS settings
           FROM pg_database d WHERE datname = $1`,
        [name],
      );
      return row;
    };
    expect(await propertiesOf(swap.keptAs)).toEqual({
      connections: -1,
      comment: `${swap.mark}\nthe shop`,
      settings: ['work_mem=5MB'],
    });
    expect(await propertiesOf(live)).toEqual({ connections: 77, comment: null, settings: null });

    const back = await swapped({ live, incoming: swap.keptAs });
    stopping = true;
    await Promise.all(clients);
    expect(await contentOf(live)).toBe(live);
    expect(await contentOf(back.keptAs)).toBe(incoming);
    expect(await propertiesOf(live)).toEqual({
      connections: -1,
      comment: 'the shop',
      settings: ['work_mem=5MB'],
    });
    // Ended sessions, and clients that waited for a name that another database has now.
    for (const code of errors) expect(['57P01', '3D000', 'ECONNRESET', undefined]).toContain(code);
  });

  test('each obstacle refuses a swap until it is accepted by name', async () => {
    const { live, incoming } = await createPair();
    const obstacles = async (url?: string) => findSwapObstacles(await connect(url), { live, incoming });
    expect(await obstacles()).toEqual([]);

    const atLive = urlOf(server.url, live);
    await sql(atLive, `SELECT pg_create_logical_replication_slot('slot_${live}', 'test_decoding')`);
    await sql(
      atLive,
      `CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)`,
    );
    await sql(atLive, `BEGIN; INSERT INTO me VALUES ('x'); PREPARE TRANSACTION 'gid ${live}'`);
    const superuser = new pg.Client({ connectionString: atLive, application_name: 'reports' });
    superuser.on('error', () => undefined);
    await superuser.connect();
    await sql(
      server.url,
      `CREATE ROLE ${live}; GRANT ${live} TO ${quoted(owner)}; ALTER DATABASE ${incoming} OWNER TO ${live}`,
    );

    const found = await obstacles();
    expect(found.map(({ code }) => code)).toEqual(SWAP_OBSTACLES);
    expect(found.map(({ message }) => message)).toEqual([
      expect.stringContaining(`(slot_${live})`),
      expect.stringContaining('(sub)'),
      expect.stringContaining(`(gid ${live})`),
      expect.stringMatching(/\(pid \d+, role .+, reports\)/),
      `${live} belongs to ${owner}, and ${incoming} to ${live}.`,
    ]);
    for (const code of SWAP_OBSTACLES) {
      const others = SWAP_OBSTACLES.filter((other) => other !== code);
      expect(() => expectAccepted(found, others)).toThrow(Failure);
      expect(() => expectAccepted(found, others)).toThrow(found.find((one) => one.code === code)?.message);
    }
    expect(() => expectAccepted(found, SWAP_OBSTACLES)).not.toThrow();

    // A superuser may end every session.
    expect((await obstacles(server.url)).map(({ code }) => code)).not.toContain('foreignSessions');

    // Accepted: the swap waits for the prepared transaction and the session, and leaves slot and subscription behind.
    const swapping = swapped({ live, incoming });
    await eventually(async () => {
      const waiting = await sql(
        server.url,
        `SELECT FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE %'`,
      );
      return waiting.length > 0;
    });
    await superuser.query(`ROLLBACK PREPARED 'gid ${live}'`);
    await superuser.end();
    const swap = await swapping;
    expect(await contentOf(live)).toBe(incoming);

    // A kept database with a slot, a subscription or a session is not dropped.
    const session = await connect();
    const refused = () => dropKeptDatabase(session, keptBy(swap));
    await expect(refused()).rejects.toMatchObject({
      code: 'DROP_REFUSED',
      message: expect.stringContaining(`replication slots (slot_${live}) and subscriptions (sub)`),
    });
    await sql(
      urlOf(server.url, swap.keptAs),
      `SELECT pg_drop_replication_slot('slot_${live}'); ALTER SUBSCRIPTION sub SET (slot_name = NONE)`,
    );
    await sql(urlOf(server.url, swap.keptAs), 'DROP SUBSCRIPTION sub');
    const user = new pg.Client(urlOf(ownerUrl, swap.keptAs));
    await user.connect();
    await expect(refused()).rejects.toThrow(/was not dropped: it has sessions \(pid \d+/);
    await user.end();
    // The server forgets a session some time after its client's end.
    await eventually(async () => {
      const [row] = await sql<{ users: number }>(
        server.url,
        `SELECT count(*)::int AS users FROM pg_stat_activity WHERE datname = '${swap.keptAs}'`,
      );
      return row?.users === 0;
    });

    // Neither is any other database: of another name, owner or comment, or another one of the same name.
    const kept = keptBy(swap);
    for (const other of [
      { ...kept, name: live },
      { ...kept, oid: swap.incoming.oid },
      { ...kept, owner: live },
      { ...kept, mark: `${kept.mark}0` },
    ])
      await expect(dropKeptDatabase(session, other)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await dropKeptDatabase(session, kept)).toBe(true);
    expect(await dropKeptDatabase(session, kept)).toBe(false);
    expect(await contentOf(live)).toBe(incoming);
  });

  test('a swap whose server process ends between the renames changes nothing; one whose commit gets no answer is found out', async () => {
    const pair = await createPair();
    const proxy = await StatementProxy.to(urlOf(ownerUrl, 'postgres'));
    try {
      const session = await Session.open(proxy.url, { applicationName: 'swapping' });
      const swap = await planSwap(session, { ...pair, at: new Date() });
      proxy.before = async ({ sql: statement }) => {
        if (!statement.includes('_new')) return;
        await sql(server.url, `SELECT pg_terminate_backend(${session.pid}, 5000)`);
      };
      const options = { connect: () => connect(), signal: never };
      await expect(swapDatabases(session, swap, options)).rejects.toMatchObject({
        code: 'DATABASE_CONNECTION_LOST',
      });
      await session.close();
      expect(await hasSwapped(await connect(), swap)).toBe(false);
      expect(await contentOf(pair.live)).toBe(pair.live);

      // The commit reaches the server; its answer is lost.
      const again = await Session.open(proxy.url, { applicationName: 'swapping' });
      const second = await planSwap(again, { ...pair, at: new Date() });
      proxy.before = async ({ sql: statement }) => {
        if (statement === 'COMMIT') setImmediate(() => again.destroy());
      };
      await swapDatabases(again, second, options);
      expect(await hasSwapped(await connect(), second)).toBe(true);
      expect(await contentOf(pair.live)).toBe(pair.incoming);
      expect(await contentOf(second.keptAs)).toBe(pair.live);
    } finally {
      await proxy.close();
    }
  });

  test('a role without CREATEDB, or which is not the owner, is refused with the statement that helps', async () => {
    const { live, incoming } = await createPair();
    const role = `plain_${live}`;
    await sql(server.url, `CREATE ROLE ${role} LOGIN PASSWORD 'pw'`);
    const url = new URL(server.url);
    [url.username, url.password] = [role, 'pw'];
    const session = await connect(url.href);
    const find = () => findSwapObstacles(session, { live, incoming });
    await expect(find()).rejects.toMatchObject({
      code: 'DATABASE_PERMISSION_DENIED',
      hint: `Run as a superuser: GRANT ${quoted(owner)} TO "${role}";`,
    });
    await sql(server.url, `GRANT ${quoted(owner)} TO ${role}`);
    await expect(find()).rejects.toMatchObject({
      hint: `Run as a superuser: ALTER ROLE "${role}" CREATEDB;`,
    });
  });
});
