import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { quoteIdentifier as quoted } from '#postgres';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runVerify } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import { newDatabase, postgresMajors, servers, sql, storeOfTests } from '../support/servers.js';

const run = promisify(execFile);
const store = storeOfTests();

const onDebians = servers.debianPostgres ? describe : describe.skip;

onDebians('roles.sql, run by psql', () => {
  let other: OwnServer;
  let empty: string;

  beforeAll(async () => {
    other = await OwnServer.postgres();
    empty = await newDatabase(other.url);
  });
  afterAll(() => other.stop());

  /** Runs SQL as a stranger would. */
  async function psql(text: string): Promise<void> {
    const done = run(`${servers.debianPostgres?.binaries}/psql`, [
      ...['-Xq1', '-v', 'ON_ERROR_STOP=1', empty],
    ]);
    done.child.stdin?.end(text);
    await done;
  }

  describe.each(postgresMajors)('from %s', (_title, server) => {
    /** Names of this test's roles begin with it: others use the same server. */
    const own = `r${randomBytes(4).toString('hex')}`;
    const hostile = `${own} "'$$\\:x';\n\\! touch hacked\n--`;
    const role = (name: string) => quoted(name === 'hostile' ? hostile : `${own}_${name}`);
    const all = ['owner', 'granted', 'group', 'above', 'member', 'stranger', 'giver', 'set'].map(role);
    let url: string;

    afterAll(async () => {
      const database = new URL(url).pathname.slice(1);
      await sql(server, `DROP DATABASE ${database} WITH (FORCE)`);
      await sql(server, `DROP ROLE ${[...all, role('hostile')].join(', ')}`);
    });

    test('an empty server gets every role of the database, as it was', async () => {
      url = await newDatabase(server);
      const database = new URL(url).pathname.slice(1);
      const [{ version = 0 } = {}] = await sql<{ version: number }>(
        url,
        `SELECT current_setting('server_version_num')::int AS version`,
      );
      const isNew = version >= 160_000;
      await sql(
        url,
        `${all.map((name) => `CREATE ROLE ${name};`).join(' ')}
         CREATE ROLE ${role('hostile')} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS NOINHERIT PASSWORD 'secret' CONNECTION LIMIT 3 VALID UNTIL '2031-01-02 03:04+00';
         ALTER ROLE ${role('hostile')} SET search_path TO '$user', 'a, "b''', '';
         ALTER ROLE ${role('hostile')} SET my.setting TO 'a, b''c\\d';
         ALTER ROLE ${role('hostile')} SET role TO ${role('owner')};
         COMMENT ON ROLE ${role('hostile')} IS E'it''s\n\\\\! none';
         ALTER ROLE ${role('owner')} VALID UNTIL 'infinity' SUPERUSER;
         CREATE SCHEMA s AUTHORIZATION ${role('owner')}; CREATE TABLE s.t (a int);
         GRANT SELECT ON s.t TO ${role('group')}; GRANT ${role('group')} TO ${role('hostile')};
         GRANT ${role('above')} TO ${role('group')}; GRANT ${role('above')} TO ${role('stranger')};
         GRANT ${role('hostile')} TO ${role('member')}; GRANT pg_monitor TO ${role('stranger')}, ${role('granted')};
         GRANT ${role('group')} TO ${role('giver')} WITH ADMIN OPTION;
         GRANT ${role('group')} TO ${role('member')} ${isNew ? 'WITH INHERIT FALSE, SET FALSE' : ''} GRANTED BY ${role('giver')};
         GRANT CONNECT ON DATABASE ${database} TO ${role('granted')};
         ALTER ROLE ${role('set')} IN DATABASE ${database} SET work_mem TO '5MB'`,
      );
      const { key } = await runBackup(store, url, ['s']);
      await runVerify(store, url, ['s'], key);
      const archive = await DownloadedArchive.of(store, key);
      expect(archive.entries().slice(-2)).toEqual(['roles.sql', 'manifest.json']);
      const text = archive.read('roles.sql').toString();
      expect(text).not.toMatch(/PASSWORD|SCRAM/);

      // Psql runs the text twice. The second time, all roles exist, and one was changed.
      await psql(text);
      const kept = [...all.filter((name) => name !== role('stranger')), role('hostile')];
      const before = (await rolesOf(url)).filter(({ name }) => kept.includes(quoted(name)));
      expect(before).toHaveLength(kept.length);
      expect(await rolesOf(empty)).toEqual(before);
      await sql(empty, `ALTER ROLE ${role('owner')} LOGIN NOSUPERUSER CONNECTION LIMIT 7`);
      await psql(text);
      expect((await rolesOf(empty)).find(({ name }) => quoted(name) === role('owner'))).toMatchObject({
        attributes: { rolcanlogin: true, rolsuper: false, rolconnlimit: 7 },
      });
      await sql(empty, `DROP ROLE ${kept.join(', ')}`);
    });

    /** This test's roles with everything that roles.sql sets. */
    async function rolesOf(database: string) {
      const rows = await sql<{ name: string; attributes: Record<string, unknown> }>(
        database,
        `SELECT r.rolname AS name, to_jsonb(r) - 'oid' - 'rolpassword' - 'rolconfig' AS attributes,
                shobj_description(r.oid, 'pg_authid') AS comment,
                (SELECT json_agg(setting) FROM pg_db_role_setting s, unnest(setconfig) AS setting WHERE setrole = r.oid AND setdatabase = 0) AS settings,
                (SELECT json_agg(json_build_object('role', m.roleid::regrole, 'options', to_jsonb(m) - 'oid' - 'roleid' - 'member' - 'grantor'
                                                     - CASE WHEN $2 THEN ARRAY[]::text[] ELSE ARRAY['inherit_option', 'set_option'] END,
                                                   'grantor', CASE WHEN $2 THEN m.grantor::regrole END) ORDER BY m.roleid::regrole::text, m.grantor::regrole::text)
                   FROM pg_auth_members m WHERE m.member = r.oid) AS memberships
           FROM pg_roles r WHERE rolname LIKE $1 ORDER BY rolname COLLATE "C"`,
        [`${own}%`, server === servers.postgres],
      );
      return rows;
    }
  });
});
