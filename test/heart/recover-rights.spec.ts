import { randomBytes } from 'node:crypto';
import { ANY_DATABASES } from '../support/any-databases.js';
import { runBackup, runRecover } from '../support/heart.js';
import { at, databaseOf, recoverBeside, wholeDatabase } from '../support/recovered.js';
import {
  newDatabase,
  oneOf,
  postgresMajors,
  sample,
  seed,
  servers,
  sql,
  storeOfTests,
} from '../support/servers.js';

const store = storeOfTests();

/** Creates a role that may log in. @returns its name and the URL of an empty database of its own */
async function ownerOn(
  server: string,
  attributes: string,
): Promise<{ role: string; admin: string; url: string }> {
  const admin = await newDatabase(server);
  const role = `owner_${randomBytes(4).toString('hex')}`;
  await sql(
    admin,
    `CREATE ROLE ${role} LOGIN PASSWORD 'pw' ${attributes}; ALTER DATABASE ${databaseOf(admin)} OWNER TO ${role}`,
  );
  const url = new URL(admin);
  [url.username, url.password] = [role, 'pw'];
  return { role, admin, url: url.href };
}

async function databasesOf(server: string, role: string): Promise<string[]> {
  const rows = await sql<{ name: string }>(
    server,
    `SELECT datname AS name FROM pg_database WHERE pg_get_userbyid(datdba) = '${role}' ORDER BY 1`,
  );
  return rows.map(({ name }) => name);
}

const ordinary = ANY_DATABASES.filter(({ superuserOnly }) => superuserOnly !== true);

describe.each(oneOf(postgresMajors, seed))('on %s', (_title, server) => {
  const some = sample(ordinary, 1);

  test.each(some.map((one) => [one.title, one] as const))(
    'an owner with CREATEDB recovers %s',
    async (_name, { sql: made }) => {
      const { admin, url } = await ownerOn(server, 'CREATEDB');
      await sql(url, `SET client_min_messages TO warning; CREATE SCHEMA s; ${made}`);
      const { before, after, losses } = await recoverBeside(store, admin, { as: url });
      expect(losses).toEqual([]);
      expect(after).toEqual(before);
    },
  );

  test.each(some.map((one) => [one.title, one] as const))(
    'an owner without CREATEDB recovers into an empty database: %s',
    async (_name, { sql: made }) => {
      const { role, admin, url } = await ownerOn(server, '');
      await sql(url, `SET client_min_messages TO warning; CREATE SCHEMA s; ${made}`);
      const { key } = await runBackup(store, url, '*', { definitions: 'required' });
      const into = `${databaseOf(admin)}_into`;
      await sql(server, `CREATE DATABASE ${into} OWNER ${role} TEMPLATE template0`);
      const { losses } = await runRecover(store, at(url, 'postgres'), key, into);
      expect(losses).toEqual([]);
      const after = await wholeDatabase(at(admin, into));
      expect({
        ...after,
        dump: after.dump.map((line) => line.replaceAll('DATABASE_into', 'DATABASE')),
      }).toEqual({
        ...(await wholeDatabase(admin)),
        ...(after.dump.length === 0 && { dump: [] }),
      });
    },
  );

  test('one message lists everything that an owner may not create, before anything is created', async () => {
    const { role, admin, url } = await ownerOn(server, 'CREATEDB CREATEROLE');
    const other = `${role}_other`;
    await sql(
      admin,
      `CREATE ROLE ${other}; CREATE SCHEMA s AUTHORIZATION ${role}; CREATE TABLE s.theirs (a int); ALTER TABLE s.theirs OWNER TO ${other};
       CREATE FUNCTION s.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; ALTER FUNCTION s.f() OWNER TO ${role};
       CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION s.f(); CREATE FOREIGN DATA WRAPPER wrap; CREATE PUBLICATION everything FOR ALL TABLES;
       CREATE FUNCTION s.c(int) RETURNS int LANGUAGE internal AS 'int4inc'; CREATE EXTENSION pg_stat_statements SCHEMA s; CREATE EXTENSION hstore SCHEMA s`,
    );
    const { key } = await runBackup(store, admin, '*', { definitions: 'required' });
    const error: unknown = await runRecover(
      store,
      at(url, 'postgres'),
      key,
      `${databaseOf(admin)}_again`,
    ).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'DATABASE_PERMISSION_DENIED',
      hint: expect.stringContaining('Recover as a superuser.') as string,
    });
    const { message } = error as Error;
    for (const part of [
      'extension pg_stat_statements (the extension is not trusted)',
      'event trigger watch (',
      'foreign data wrapper wrap (',
      'publication everything (',
      'function s.c(integer) (',
      `objects of ${other} (table s.theirs)`,
    ])
      expect(message).toContain(part);
    for (const part of ['hstore', 's.f', role + ' (']) expect(message).not.toContain(part);
    expect(await databasesOf(server, role)).toEqual([databaseOf(admin)]);
  });

  test('a role with CREATEROLE creates the missing roles, and gives them their objects', async () => {
    const { role, admin, url } = await ownerOn(server, 'CREATEDB CREATEROLE');
    const [one, two] = [`${role}_one`, `${role} "two"`];
    const quoted = `"${two.replaceAll('"', '""')}"`;
    await sql(
      admin,
      `CREATE ROLE ${one}; CREATE ROLE ${quoted} CONNECTION LIMIT 3; GRANT ${one} TO ${quoted};
       CREATE SCHEMA s AUTHORIZATION ${one}; CREATE TABLE s.t (a serial PRIMARY KEY, b int); ALTER TABLE s.t OWNER TO ${one}; INSERT INTO s.t (b) SELECT generate_series(1, 50);
       CREATE TABLE s.u (a int REFERENCES s.t); CREATE INDEX ON s.u (a); INSERT INTO s.u VALUES (7); ALTER TABLE s.u OWNER TO ${one}; GRANT SELECT ON s.u TO ${quoted};
       CREATE MATERIALIZED VIEW s.m AS SELECT count(*) FROM s.t; ALTER MATERIALIZED VIEW s.m OWNER TO ${one}`,
    );
    const { key } = await runBackup(store, admin, '*', { definitions: 'required' });
    const before = await wholeDatabase(admin);
    const database = databaseOf(admin);
    for (const what of [`DATABASE ${database}`, `ROLE ${quoted}`, `ROLE ${one}`])
      await sql(server, `DROP ${what}`);
    const { losses, createdRoles } = await runRecover(store, at(url, 'postgres'), key, database, {
      createRoles: true,
    });
    expect(losses).toEqual([]);
    expect(createdRoles).toEqual([two, one]);
    expect(await wholeDatabase(admin)).toEqual(before);
  });

  test('a dropped schema public stays dropped, also in an existing database', async () => {
    const { admin, url } = await ownerOn(server, 'CREATEDB');
    await sql(url, 'DROP SCHEMA public; CREATE SCHEMA s; CREATE TABLE s.t (a int)');
    const { key } = await runBackup(store, url, '*', { definitions: 'required' });
    const [created, existing] = [`${databaseOf(admin)}_new`, `${databaseOf(admin)}_there`];
    await sql(url, `CREATE DATABASE ${existing} TEMPLATE template0`);
    for (const database of [created, existing]) {
      expect((await runRecover(store, at(url, 'postgres'), key, database)).losses).toEqual([]);
      const schemas = `SELECT nspname::text AS name FROM pg_namespace WHERE nspname IN ('public', 's')`;
      expect(await sql(at(url, database), schemas)).toEqual([{ name: 's' }]);
    }
  });

  test('a role without CREATEDB that names a missing database gets the statements that help', async () => {
    const { role, admin, url } = await ownerOn(server, '');
    const { key } = await runBackup(store, url, '*', { definitions: 'required' });
    const missing = `${databaseOf(admin)}_new`;
    await expect(runRecover(store, at(url, 'postgres'), key, missing)).rejects.toMatchObject({
      code: 'TARGET_REFUSED',
      message: `The role ${role} may not create the database ${missing}.`,
      hint: expect.stringContaining(
        `ALTER ROLE "${role}" CREATEDB; CREATE DATABASE "${missing}" OWNER`,
      ) as string,
    });
  });
});

test('the extensions that the server lacks are named', async () => {
  if (servers.debianPostgres === undefined) return;
  const url = await newDatabase(servers.debianPostgres.url);
  // PostgreSQL 17 removed it.
  await sql(url, 'CREATE EXTENSION adminpack');
  const { key } = await runBackup(store, url, '*', { definitions: 'required' });
  await expect(runRecover(store, servers.postgres, key, databaseOf(url))).rejects.toMatchObject({
    code: 'EXTENSION_MISSING',
    message: 'The server lacks an extension of the archive: adminpack.',
  });
});
