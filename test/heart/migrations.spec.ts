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

  test('give the levels of verifications their names, and take them back', async () => {
    const database = await openDatabase(databaseOptions(new Secret(url)));
    const words = async () =>
      (await sql(url, 'SELECT after_backup FROM snapshotd.schedule ORDER BY name')).map(
        ({ after_backup: word }) => word as string,
      );
    /** Takes back the last migrations, and the one that gives the names. */
    const undo = async () => {
      const [{ count } = { count: 0 }] = await sql<{ count: number }>(
        url,
        'SELECT count(*)::int FROM snapshotd.migrations WHERE timestamp >= 1798000000000',
      );
      expect(count).toBeGreaterThan(0);
      for (let undone = 0; undone < count; undone++) await database.undoLastMigration();
    };
    try {
      await undo();
      await sql(
        url,
        `INSERT INTO snapshotd.schedule (name, pattern, time_zone, after_backup, enabled, created_by, settled_on)
         SELECT word, '0 0 * * *', 'UTC', word, false, 'a', now() FROM unnest('{nothing,restoreDrill,verify}'::text[]) word;
         INSERT INTO snapshotd.schedule_archive (url, key, schedule, daemon, created_on, completed_on, verified_on, verified_by)
         SELECT word, word, 'verify', '1', now(), now(), now(), word FROM unnest('{READ,RESTORE_DRILL}'::text[]) word`,
      );
      await database.runMigrations();
      expect(await words()).toEqual(['nothing', 'DRILL', 'FIT']);
      expect(await sql(url, 'SELECT url, verified_by FROM snapshotd.schedule_archive ORDER BY url')).toEqual([
        { url: 'READ', verified_by: 'FIT' },
        { url: 'RESTORE_DRILL', verified_by: 'DRILL' },
      ]);
      await undo();
      expect(await words()).toEqual(['nothing', 'restoreDrill', 'verify']);
    } finally {
      await database.destroy();
    }
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
