import { randomBytes } from 'node:crypto';
import type { Failure } from '#common';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, postgresMajors, servers, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

// The versions differ in how a membership comes by its rights.
test.each(postgresMajors)(
  'on %s, a role that cannot restore is told what it lacks',
  async (_title, server) => {
    const admin = await newDatabase(server);
    const tail = randomBytes(4).toString('hex');
    const [one, two, reader] = [`one_${tail}`, `two_${tail}`, `reader_${tail}`];
    await sql(
      admin,
      `CREATE ROLE ${one}; CREATE ROLE ${two}; CREATE ROLE ${reader} LOGIN PASSWORD 'pw' IN ROLE pg_read_all_data; CREATE SCHEMA s; GRANT ALL ON SCHEMA s TO PUBLIC;
    SET ROLE ${one}; CREATE TABLE s.a (id serial PRIMARY KEY); CREATE TABLE s.b (id serial); INSERT INTO s.a DEFAULT VALUES;
    SET ROLE ${two}; CREATE TABLE s.c (id int);
    RESET ROLE; CREATE DOMAIN s.d AS int; CREATE TABLE s.e (id serial, d s.d); ALTER TABLE s.e OWNER TO ${two}; INSERT INTO s.e VALUES (1, -1);
    ALTER DOMAIN s.d ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID; CREATE TABLE s.f (id serial)`,
    );
    const url = admin.replace(/\/\/[^@]+@/, `//${reader}:pw@`);
    const { key } = await runBackup(store, url, ['s'], { definitions: 'off' });
    const failureOf = (work: Promise<unknown>) =>
      work.then(
        () => undefined,
        (error: unknown) => error as Failure,
      );
    const names = [...'abcdef'].flatMap((name) => [
      `"s"."${name}"`,
      ...('abef'.includes(name) ? [`"s"."${name}_id_seq"`] : []),
    ]);
    const lacks = `The role ${reader} must own ${names.join(', ')}, or be a member of the owners, to restore them.`;
    const remedy = `Nothing was changed. Run: GRANT "${one}" TO "${reader}"; GRANT "${two}" TO "${reader}"; Or let REPOSITORY_URL name a role that has these rights. A superuser should not own objects that a restore changes. Have one run ALTER DOMAIN "s"."d" OWNER TO "${reader}"; ALTER TABLE "s"."f" OWNER TO "${reader}";`;
    expect(await failureOf(runRestore(store, url, ['s'], key))).toMatchObject({
      code: 'OWNERSHIP_MISSING',
      sentence: `${lacks} ${remedy}`,
    });
    const journal = new MemoryJournal();
    const verified = await failureOf(runVerify(store, url, ['s'], key, { journal }));
    expect(verified?.sentence).toBe(
      `${lacks} The archive itself was read: it is complete and fits the tables here. A verification of level READ needs none of these rights. ${remedy}`,
    );
    expect(journal.messages).toContain('Checking data/s.a/000001.csv');

    // The hint in its message helps.
    await sql(
      admin,
      `ALTER DOMAIN s.d OWNER TO ${reader}; ALTER TABLE s.f OWNER TO ${reader}; ALTER ROLE ${reader} NOINHERIT; GRANT ${one}, ${two} TO ${reader}`,
    );
    const inherit = await failureOf(runVerify(store, url, ['s'], key));
    const statements =
      server === servers.postgres
        ? `GRANT "${one}" TO "${reader}" WITH INHERIT TRUE; GRANT "${two}" TO "${reader}" WITH INHERIT TRUE;`
        : `ALTER ROLE "${reader}" INHERIT;`;
    expect(inherit?.hint).toContain(`Run: ${statements} Or let`);
    await sql(admin, statements);
    await runVerify(store, url, ['s'], key);
    await runRestore(store, url, ['s'], key);
  },
);
