import { randomBytes } from 'node:crypto';
import { runBackup, runRestore } from '../support/heart.js';
import { newDatabase, openStore, postgresMajors, servers, sql } from '../support/servers.js';
import { DownloadedArchive } from '../support/archive.js';

const store = openStore(servers.s3);
afterAll(() => store.close());

test.each(postgresMajors)(
  '%s: with few connections left a backup does without those that it can do without',
  async (_, server) => {
    const admin = await newDatabase(server);
    const role = `few_${randomBytes(4).toString('hex')}`;
    await sql(
      admin,
      `CREATE ROLE ${role} LOGIN PASSWORD 'x'; CREATE SCHEMA s AUTHORIZATION ${role};
    SET ROLE ${role}; CREATE TABLE s.t AS SELECT i AS a, repeat('x', 100) AS b FROM generate_series(1, 20000) i; CREATE TABLE s.u AS TABLE s.t`,
    );
    const url = new URL(admin);
    [url.username, url.password] = [role, 'x'];
    for (const limit of [2, 3]) {
      await sql(admin, `ALTER ROLE ${role} CONNECTION LIMIT ${limit}`);
      const { key } = await runBackup(store, url.href, ['s'], { definitions: 'auto' });
      const { leftOut } = (await DownloadedArchive.of(store, key)).manifest();
      // With three, pg_dump or another reader gets the third one, whichever asks first.
      if (limit === 2) expect(leftOut.map(({ what }) => what)).toEqual(['definitions']);
      await runRestore(store, url.href, ['s'], key);
    }
  },
);

test('a full disk of the server is no reason to try again, and the advice says how much room is needed', async () => {
  const url = await newDatabase();
  await sql(
    url,
    `CREATE SCHEMA s; CREATE FUNCTION s.fills(a int) RETURNS boolean LANGUAGE plpgsql AS $$
       BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
     CREATE TABLE s.t (a int); INSERT INTO s.t VALUES (1)`,
  );
  const { key } = await runBackup(store, url, ['s'], { definitions: 'auto' });
  await sql(url, 'DELETE FROM s.t; ALTER TABLE s.t ADD CHECK (s.fills(a))');
  await expect(runRestore(store, url, ['s'], key)).rejects.toMatchObject({
    persistence: 'permanent',
    hint: expect.stringMatching(/^Free space.* A restore or a drill needs space for/) as string,
  });
});
