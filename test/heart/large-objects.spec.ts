import { randomBytes } from 'node:crypto';
import { Failure } from '#common';
import { contentsOf, planLargeObjects, Session } from '#postgres';
import { DownloadedArchive } from '../support/archive.js';
import { eventually } from '../support/eventually.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import {
  newDatabase,
  newOwnedDatabase,
  oneOf,
  postgresMajors,
  seed,
  servers,
  sql,
  storeOfTests,
} from '../support/servers.js';

const store = storeOfTests();

/** All large objects: owner, rights, comment and content, by OID. */
function objectsOf(url: string): Promise<Record<string, unknown>[]> {
  return sql(
    url,
    `SELECT oid, pg_get_userbyid(lomowner) AS owner, obj_description(oid, 'pg_largeobject') AS comment,
            ARRAY(SELECT acl::text FROM unnest(coalesce(lomacl, acldefault('L', lomowner))) AS acl ORDER BY 1) AS rights,
            md5(lo_get(oid)) AS content, length(lo_get(oid)) AS bytes
       FROM pg_largeobject_metadata ORDER BY oid`,
  );
}

async function failureOf(job: Promise<object>): Promise<Failure> {
  const error: unknown = await job.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof Failure) return error;
  throw new Error(`No Failure: ${String(error)}`);
}

/** Creates a database with a table and large objects of every kind. */
async function withObjects(server: string): Promise<{ url: string; roles: string[] }> {
  const url = await newDatabase(server);
  const roles = ['owner', 'reader', 'deputy'].map((name) => `${name} "${randomBytes(4).toString('hex')}`);
  const [owner, reader, deputy] = roles.map((role) => `"${role.replace('"', '""')}"`);
  await sql(
    url,
    `CREATE ROLE ${owner}; CREATE ROLE ${reader}; CREATE ROLE ${deputy}; CREATE SCHEMA s; CREATE TABLE s.t (body oid);
     SELECT lo_create(101); SELECT lo_from_bytea(102, 'short'); SELECT lo_from_bytea(4294967295, repeat('x', 262144)::bytea);
     SELECT lo_from_bytea(103, decode(repeat('00ff5c0a22', 140000), 'hex')); SELECT lo_create(104); SELECT lo_put(104, 600000, 'after a gap');
     INSERT INTO s.t SELECT lo_from_bytea(1000 + g, g::text::bytea) FROM generate_series(1, 300) g;
     COMMENT ON LARGE OBJECT 102 IS E'größe, "quoted",\\n and a second line'; COMMENT ON LARGE OBJECT 101 IS '';
     ALTER LARGE OBJECT 102 OWNER TO ${owner}; ALTER LARGE OBJECT 103 OWNER TO ${owner};
     GRANT SELECT ON LARGE OBJECT 102, 1001, 1002 TO PUBLIC; GRANT UPDATE ON LARGE OBJECT 102 TO ${deputy} WITH GRANT OPTION;
     SET ROLE ${deputy}; GRANT UPDATE ON LARGE OBJECT 102 TO ${reader}; RESET ROLE;
     REVOKE ALL ON LARGE OBJECT 103 FROM ${owner}; GRANT SELECT ON LARGE OBJECT 103 TO ${reader}`,
  );
  return { url, roles };
}

/** Changes every large object in every way, and adds two. */
const SPOIL = `
  SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid IN (102, 1001) OR oid > 1200;
  SELECT lo_put(oid, 1, 'spoiled') FROM pg_largeobject_metadata;
  GRANT UPDATE ON LARGE OBJECT 101, 103, 1002 TO PUBLIC; COMMENT ON LARGE OBJECT 104 IS 'new'; COMMENT ON LARGE OBJECT 101 IS 'new';
  ALTER LARGE OBJECT 103 OWNER TO CURRENT_USER; SELECT lo_from_bytea(50, 'extra'); SELECT lo_from_bytea(3000000000, 'extra')`;

describe.each(oneOf(postgresMajors, seed + 1))('large objects on %s', (_title, server) => {
  test('come back with content, owner, rights and comment, and objects that are newer stay unless they are to go', async () => {
    const { url } = await withObjects(server);
    const before = await objectsOf(url);
    const { key, omissions } = await runBackup(store, url, ['s']);
    expect(omissions).toEqual(['definitions']);
    const archive = await DownloadedArchive.of(store, key);
    const { totals, largeObjects } = archive.manifest();
    const bytes = before.reduce((sum, object) => sum + Number(object['bytes']), 0);
    expect(totals).toMatchObject({ entities: 300, largeObjects: { objects: before.length, bytes } });
    expect(largeObjects?.entries.length).toBeGreaterThan(2);
    archive.test();

    await sql(url, SPOIL);
    const spoiled = await objectsOf(url);
    await runVerify(store, url, ['s'], key);
    expect(await objectsOf(url)).toEqual(spoiled);

    const { omissions: lost, warnings } = await runRestore(store, url, ['s'], key);
    expect(lost).toEqual([]);
    expect(warnings).toEqual([expect.stringMatching(/^2 large objects stay that the archive does not hold/)]);
    const after = await objectsOf(url);
    expect(after.filter(({ comment }) => comment !== 'new')).toHaveLength(before.length + 2);
    expect(after.filter(({ oid }) => ![50, 3_000_000_000].includes(Number(oid)))).toEqual(before);

    const again = await runRestore(store, url, ['s'], key, { removeExtraLargeObjects: true });
    expect(again.warnings).toEqual([]);
    expect(await objectsOf(url)).toEqual(before);
  });

  test('stay as they are when a restore is of some tables or into another schema', async () => {
    const { url } = await withObjects(server);
    const { key } = await runBackup(store, url, ['s']);
    await sql(url, SPOIL);
    const spoiled = await objectsOf(url);
    const more = { removeExtraLargeObjects: true };
    await runRestore(store, url, ['s'], key, { ...more, tables: ['s.t'] });
    await runRestore(store, url, ['s'], key, { ...more, intoSchemas: { s: 'beside' }, create: true });
    expect(await objectsOf(url)).toEqual(spoiled);
  });

  test('are those of the snapshot, whatever others write meanwhile', async () => {
    const { url } = await withObjects(server);
    const session = await Session.open(url, { applicationName: 'reader' });
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    const read = async () => {
      const { ranges, ...totals } = await planLargeObjects(session, 64 * 1024);
      const rows = [];
      for (const range of ranges) {
        const { sql: query } = contentsOf(range, 64 * 1024);
        rows.push(...(await session.query(`SELECT oid, "offset", md5(bytes) FROM (${query}) AS pieces`)));
      }
      return { totals, rows };
    };
    const before = await read();
    await sql(url, SPOIL);
    expect(await read()).toEqual(before);
    expect(before.totals.objects).toBe(305);
    await session.close();
  });

  test('that the role may not read fail the backup, and the statement in the message helps', async () => {
    const { admin, url, role } = await newOwnedDatabase(server);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (); SELECT lo_from_bytea(100, $$mine$$)');
    await sql(admin, `SELECT lo_from_bytea(200, 'not mine'); GRANT pg_read_all_data TO ${role}`);
    const { code, message, hint = '' } = await failureOf(runBackup(store, url, ['s']));
    expect({ code, message }).toEqual({
      code: 'DATABASE_PERMISSION_DENIED',
      message: `The role ${role} may not read 1 of 2 large objects, such as 200: permission denied.`,
    });
    const excluded = await runBackup(store, url, ['s'], { excludeLargeObjects: true });
    expect(excluded.omissions).toContain('2 large objects');
    const before = await objectsOf(admin);
    await sql(admin, 'SELECT lo_put(200, 0, $$NOT$$)');
    const spoiled = await objectsOf(admin);
    expect((await runRestore(store, url, ['s'], excluded.key)).warnings).toEqual([]);
    expect(await objectsOf(admin)).toEqual(spoiled);

    await sql(admin, /ALTER ROLE [^;]+;/.exec(hint)?.[0] ?? '');
    await sql(admin, 'SELECT lo_put(200, 0, $$not$$)');
    const { key, omissions } = await runBackup(store, url, ['s']);
    expect(omissions).not.toContain('2 large objects');
    await sql(admin, 'SELECT lo_put(200, 0, $$NOT$$); SELECT lo_put(100, 0, $$M$$)');
    await runRestore(store, url, ['s'], key);
    expect(await objectsOf(admin)).toEqual(before);
  });

  test('that the role may not restore refuse the restore, and nothing is changed', async () => {
    const { admin, url, role } = await newOwnedDatabase(server);
    const other = `other_${randomBytes(4).toString('hex')}`;
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int); INSERT INTO s.t VALUES (1)');
    await sql(
      admin,
      `CREATE ROLE ${other}; SELECT lo_from_bytea(100, 'theirs'), lo_from_bytea(101, 'gone'); ALTER LARGE OBJECT 100 OWNER TO ${other};
       ALTER LARGE OBJECT 101 OWNER TO ${other}; GRANT SELECT ON LARGE OBJECT 100, 101 TO ${role}`,
    );
    const before = await objectsOf(admin);
    const { key } = await runBackup(store, url, ['s']);
    await sql(admin, 'SELECT lo_unlink(101); TRUNCATE s.t; SELECT lo_from_bytea(50, $$extra$$)');
    const spoiled = await objectsOf(admin);
    for (const job of [runVerify, runRestore]) {
      const { code, message, hint } = await failureOf(job(store, url, ['s'], key));
      expect({ code, hint }).toEqual({
        code: 'OWNERSHIP_MISSING',
        hint: `Nothing was changed. Run: GRANT "${other}" TO "${role}";`,
      });
      expect(message).toMatch(/ to restore 2 large objects, such as 100\./);
    }
    expect(await objectsOf(admin)).toEqual(spoiled);
    await sql(admin, `GRANT ${other} TO ${role}`);
    const { message } = await failureOf(
      runRestore(store, url, ['s'], key, { removeExtraLargeObjects: true }),
    );
    expect(message).toMatch(/ to restore 1 large object\./);
    await runRestore(store, url, ['s'], key);
    expect((await objectsOf(admin)).filter(({ oid }) => oid !== 50)).toEqual(before);
  });

  test('take a time that grows with their length, also if a transaction still sees removed pages', async () => {
    const url = await newDatabase(server);
    const pages = 8192;
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.t (); SELECT lo_from_bytea(100, repeat('x', ${pages * 2048})::bytea)`,
    );
    const { key } = await runBackup(store, url, ['s']);
    /** Index entries that were read, once the sessions that read them have ended. */
    const entriesRead = async () => {
      await eventually(async () => {
        const jobs = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'restore %'`;
        return (await sql(url, jobs)).length === 0;
      });
      const [index] = await sql<{ entries: number }>(
        url,
        `SELECT idx_tup_read::int AS entries FROM pg_stat_sys_indexes WHERE indexrelname = 'pg_largeobject_loid_pn_index'`,
      );
      return index?.entries ?? 0;
    };
    const before = await objectsOf(url);
    const reader = await Session.open(url, { applicationName: 'reader' });
    for (const spoil of ["SELECT lo_put(100, 5000, 'spoiled')", 'SELECT lo_unlink(100)']) {
      await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await reader.query('SELECT 1');
      await sql(url, spoil);
      const earlier = await entriesRead();
      await runRestore(store, url, ['s'], key);
      expect((await entriesRead()) - earlier).toBeLessThan(20 * pages);
      await reader.query('ROLLBACK');
      expect(await objectsOf(url)).toEqual(before);
    }
    await reader.close();
  });

  test('keep their owner and rights if the roles are missing, and the restore names them', async () => {
    const { url, roles } = await withObjects(server);
    const [owner = '', reader = ''] = roles;
    const { key } = await runBackup(store, url, ['s']);
    for (const role of [owner, reader])
      await sql(url, `DROP OWNED BY "${role.replace('"', '""')}"; DROP ROLE "${role.replace('"', '""')}"`);
    const { omissions } = await runRestore(store, url, ['s'], key);
    expect(omissions).toEqual([`owner and rights of 2 large objects (there is no role ${owner})`]);
    const [object] = await sql(url, 'SELECT lo_get(102) AS content');
    expect(object).toEqual({ content: Buffer.from('short') });
  });
});

const onDebian = servers.debianPostgres ? test : test.skip;

onDebian(
  'many large objects are created without a lock for each, and needed locks are foreseen',
  async () => {
    const settings = { max_locks_per_transaction: '10', max_connections: '20' };
    const server = await OwnServer.postgres({ binaries: servers.debianPostgres?.binaries, settings });
    try {
      const { url } = server;
      await sql(
        url,
        'CREATE ROLE owner; CREATE SCHEMA s; CREATE TABLE s.t (); SET ROLE owner; SELECT lo_create(g) FROM generate_series(1, 4000) g',
      );
      const owned = () =>
        sql(
          url,
          'SELECT lomowner::regrole::text AS owner, count(*)::int FROM pg_largeobject_metadata GROUP BY 1',
        );
      const unlink = () =>
        sql(
          url,
          `DO $$ BEGIN FOR part IN 0..39 LOOP
           PERFORM lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid::int8 / 101 = part; COMMIT; END LOOP; END $$`,
        );
      const { key } = await runBackup(store, url, ['s']);
      await unlink();
      expect(await owned()).toEqual([]);
      await runRestore(store, url, ['s'], key);
      expect(await owned()).toEqual([{ owner: 'owner', count: 4_000 }]);

      await unlink();
      await sql(url, 'SELECT lo_create(g) FROM generate_series(1, 4000) g');
      expect((await failureOf(runVerify(store, url, ['s'], key))).hint).toContain(
        'max_locks_per_transaction',
      );
      expect((await failureOf(runRestore(store, url, ['s'], key))).hint).toMatch(
        /^Nothing was changed\. It needs about 400\d locks/,
      );
    } finally {
      await server.stop();
    }
  },
);
