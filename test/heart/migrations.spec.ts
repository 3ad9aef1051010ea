import pg from 'pg';
import { Secret } from '#config';
import { databaseOptions, openDatabase } from '#database';
import { newDatabase, oneOf, postgresMajors, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

describe.each(oneOf(postgresMajors.slice(0, 2), 1))('the migrations on %s', (_title, server) => {
  let url: string;
  let role: string;
  let stranger: pg.Client;
  beforeEach(async () => {
    url = await newDatabase(server);
    role = `stranger_${new URL(url).pathname.slice(1)}`;
    await sql(
      url,
      `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE ${new URL(url).pathname.slice(1)} TO ${role}`,
    );
    const address = new URL(url);
    [address.username, address.password] = [role, 'x'];
    stranger = new pg.Client(address.href);
    await stranger.connect();
  });
  afterEach(() => stranger.end());

  const open = async () => (await openDatabase(databaseOptions(new Secret(url)))).destroy();

  test('run once, however many processes start at once', async () => {
    await Promise.all([open(), open(), open()]);
    await open();
    const names = await sql(url, 'SELECT name FROM snapshotd.migrations');
    expect(new Set(names.map(({ name }) => name as string)).size).toBe(names.length);
  });

  test('are not blocked by roles that may only connect', async () => {
    await stranger.query('SELECT pg_advisory_lock(7238118)');
    await open();
    await stranger.query('BEGIN');
    await expect(stranger.query("COMMENT ON SCHEMA snapshotd IS 'mine'")).rejects.toThrow('must be owner');
    await open();
  });

  test.each(['snapshotd', 'snapshotd_queue'])(
    'do not run in a schema %s that somebody else has made, neither as a superuser nor as a role that may use it',
    async (schema) => {
      await stranger.query(`CREATE SCHEMA ${schema}`);
      const user = new URL(url);
      [user.username, user.password] = [`api_${role}`, 'y'];
      await sql(
        url,
        `CREATE ROLE api_${role} LOGIN PASSWORD 'y'; GRANT ALL ON SCHEMA ${schema} TO api_${role};
         GRANT CREATE ON DATABASE ${user.pathname.slice(1)} TO api_${role}`,
      );
      for (const address of [url, user.href]) {
        const stack = await Stack.start({ workers: 0, wait: false, env: { DATABASE_URL: address } });
        await stack.api.logs(`The schema ${schema} belongs to the role ${role}`);
        await stack.stop();
      }
      const { rows } = await stranger.query('SELECT FROM pg_class WHERE relnamespace = $1::regnamespace', [
        schema,
      ]);
      expect(rows).toEqual([]);
    },
  );
});
