import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { scopeOf, Secret } from '#config';
import { examineRepository, remarksOn } from '#engine';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { newOwnedDatabase, postgresMajors, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

const { signal } = new AbortController();
const TABLES =
  'CREATE SCHEMA s; CREATE TABLE s.t (v int); CREATE TABLE s.u (v int); INSERT INTO s.t VALUES (1)';

describe.each(postgresMajors)('on %s', (_title, server) => {
  /** A new database and a role that owns its tables. */
  async function owned() {
    const made = await newOwnedDatabase(server);
    await sql(made.url, TABLES);
    return made;
  }
  const examine = (url: string) =>
    examineRepository({
      repository: { url: new Secret(url), scope: scopeOf(['s']), retryForMs: 0, lockTimeoutMs: 0 },
      signal,
    });
  const remarks = async (url: string) =>
    remarksOn(await examine(url)).map(({ kind, level, message }) => `${level} ${kind}: ${message}`);

  test('an archive names its cluster and its database, and another database refuses it', async () => {
    const here = await owned();
    const there = await owned();
    const { identity } = await examine(here.url);
    const { key } = await runBackup(store, here.url, ['s']);
    const { systemIdentifier, databaseOid, database } = (await DownloadedArchive.of(store, key)).manifest()
      .server;
    expect({ systemIdentifier, databaseOid, databaseName: database }).toEqual(identity);
    const [system] = await sql<{ id: string }>(
      here.admin,
      'SELECT system_identifier AS id FROM pg_control_system()',
    );
    expect(systemIdentifier).toBe(system?.id);

    const strict = { otherDatabase: false };
    await sql(here.url, 'DELETE FROM s.t');
    await runVerify(store, here.url, ['s'], key, strict);
    await runRestore(store, here.url, ['s'], key, strict);
    expect(await sql(here.url, 'SELECT v FROM s.t')).toEqual([{ v: 1 }]);

    await sql(there.url, 'UPDATE s.t SET v = 2');
    const refusal = {
      code: 'OTHER_DATABASE',
      persistence: 'permanent',
      message: expect.stringContaining(
        `taken from another database: ${database} (system ${systemIdentifier}, oid`,
      ),
      hint: expect.stringContaining('--other-database'),
    };
    for (const attempt of [
      () => runRestore(store, there.url, ['s'], key, strict),
      () =>
        runRestore(store, there.url, ['s'], key, { ...strict, intoSchemas: { s: 'beside' }, create: true }),
      () => runVerify(store, there.url, ['s'], key, strict),
    ])
      await expect(attempt()).rejects.toMatchObject(refusal);
    // Nothing was changed, and nothing is said against the archive.
    expect(await sql(there.url, 'SELECT v FROM s.t')).toEqual([{ v: 2 }]);
    // A renamed database is the same one. A new database of the old name is another.
    await sql(server, `ALTER DATABASE ${here.database} RENAME TO ${here.database}_old`);
    await sql(server, `ALTER DATABASE ${there.database} RENAME TO ${here.database}`);
    const recreated = there.url.replace(there.database, here.database);
    await expect(runVerify(store, recreated, ['s'], key, strict)).rejects.toMatchObject(refusal);
    await runVerify(store, here.url.replace(here.database, `${here.database}_old`), ['s'], key, strict);

    await runVerify(store, recreated, ['s'], key, { ...strict, predecessors: [identity] });
    await runRestore(store, recreated, ['s'], key, { otherDatabase: true });
    expect(await sql(recreated, 'SELECT v FROM s.t')).toEqual([{ v: 1 }]);
  });

  test('where the system identifier is refused, archives are made and restored without it, and the worker says so', async () => {
    const here = await owned();
    const there = await owned();
    await sql(here.admin, 'REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC');
    const { key } = await runBackup(store, here.url, ['s']);
    const { server: taken } = (await DownloadedArchive.of(store, key)).manifest();
    expect(taken).toEqual(expect.not.objectContaining({ systemIdentifier: expect.anything() }));
    await runRestore(store, there.url, ['s'], key, { otherDatabase: false });
    const { key: other } = await runBackup(store, there.url, ['s']);
    await runRestore(store, here.url, ['s'], other, { otherDatabase: false });
    expect(await remarks(here.url)).toEqual([
      `information IDENTITY_UNKNOWN: snapshotd cannot identify this database. Run: GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO ${here.role};`,
    ]);
  });

  test('a connection that leads elsewhere than expected is refused before anything is done', async () => {
    const here = await owned();
    const there = await owned();
    const { identity } = await examine(there.url);
    const { key } = await runBackup(store, here.url, ['s']);
    const repository = {
      url: new Secret(here.url),
      scope: scopeOf(['s']),
      retryForMs: 60_000,
      lockTimeoutMs: 0,
      identity,
    };
    for (const attempt of [
      () => runBackup(store, here.url, ['s'], { repository }),
      () => runRestore(store, here.url, ['s'], key, { repository }),
      () => runVerify(store, here.url, ['s'], key, { repository }),
    ])
      await expect(attempt()).rejects.toMatchObject({
        code: 'REPOSITORY_ELSEWHERE',
        persistence: 'permanent',
      });
  });

  test('a worker says what its role may do too much, and what too little', async () => {
    const { admin, url, role } = await owned();
    expect(await remarks(url)).toEqual([]);
    expect(await remarks(admin)).toEqual([
      expect.stringMatching(/^warning SUPERUSER: The role \w+ is a superuser: code/),
    ]);

    await sql(admin, `ALTER ROLE ${role} CREATEROLE; GRANT pg_execute_server_program TO ${role}`);
    expect(await remarks(url)).toEqual([
      `warning MORE_RIGHTS: The role ${role} has rights that a worker does not need: CREATEROLE, pg_execute_server_program. Revoke them.`,
    ]);
    const boss = `boss_${randomBytes(4).toString('hex')}`;
    await sql(
      admin,
      `ALTER ROLE ${role} NOCREATEROLE; REVOKE pg_execute_server_program FROM ${role};
      CREATE ROLE ${boss} SUPERUSER; GRANT ${boss} TO ${role}`,
    );
    expect(await remarks(url)).toEqual([expect.stringContaining(`does not need: ${boss}. Revoke`)]);
    await sql(admin, `DROP ROLE ${boss}`);

    const reader = `reader_${randomBytes(4).toString('hex')}`;
    await sql(
      admin,
      `CREATE ROLE ${reader} LOGIN PASSWORD 'pw'; GRANT USAGE ON SCHEMA s TO ${reader};
      GRANT SELECT ON ALL TABLES IN SCHEMA s TO ${reader}; ALTER TABLE s.u OWNER TO ${reader}`,
    );
    expect(await remarks(admin.replace(/\/\/[^@]+@/, `//${reader}:pw@`))).toEqual([
      `information BACKS_UP_ONLY: Backs up only: restores, and verifications above READ, fail, because the role ${reader} does not own 1 of 2 tables.`,
    ]);
  });
});

const [one, other] = postgresMajors.map(([, server]) => server);
(other === undefined ? test.skip : test)(
  'connections of one job that an address leads to two servers are not mixed',
  async () => {
    const name = `twice_${randomBytes(4).toString('hex')}`;
    const fill = `CREATE ROLE ${name} LOGIN PASSWORD 'pw'`;
    for (const server of [one ?? '', other ?? '']) {
      await sql(server, fill);
      await sql(server, `CREATE DATABASE ${name} OWNER ${name}`);
      await sql(
        `postgres://${name}:pw@${new URL(server).host}/${name}`,
        `${TABLES}; INSERT INTO s.t SELECT generate_series(1, 60000); INSERT INTO s.u SELECT generate_series(1, 60000)`,
      );
    }
    const servers = [one, other].map((server) => Number(new URL(server ?? '').port));
    for (const [elsewhere, definitions] of [
      [2, 'auto'],
      [3, 'off'],
    ] as const) {
      let connections = 0;
      const balancer = createServer((client) => {
        const server = connect(servers[++connections === elsewhere ? 1 : 0] ?? 0, '127.0.0.1');
        for (const socket of [client, server])
          socket.on('error', () => [client, server].map((each) => each.destroy()));
        client.pipe(server).pipe(client);
      }).listen(0, '127.0.0.1');
      await once(balancer, 'listening');
      const url = `postgres://${name}:pw@127.0.0.1:${(balancer.address() as AddressInfo).port}/${name}`;
      await expect(runBackup(store, url, ['s'], { definitions })).rejects.toMatchObject({
        code: 'SERVERS_DIFFER',
      });
      expect(connections).toBe(elsewhere);
      balancer.close();
    }
  },
);
