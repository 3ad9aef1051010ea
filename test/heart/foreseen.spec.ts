import { buffer } from 'node:stream/consumers';
import { expectRoomForLocks, Session, warnOfLocks } from '#postgres';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import { newDatabase, oneOf, postgresMajors, servers, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  test('bytes that the encoding does not allow are told by the backup, and come back', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.good (a text); CREATE TABLE s.bad (id int, a text, b varchar(9), c jsonb); INSERT INTO s.good VALUES ('größe');
      CREATE CAST (bytea AS text) WITHOUT FUNCTION;
      INSERT INTO s.bad SELECT i, repeat('größe 東京', i % 50), 'ö', '{"ö": 1}' FROM generate_series(1, 5000) i;
      INSERT INTO s.bad VALUES (0, ('\\xe4f6'::bytea)::text, ('\\x41e4'::bytea)::text, NULL);
      DROP CAST (bytea AS text)`,
    );
    const bytes = () =>
      sql(
        url,
        `SELECT id, encode(textsend(a), 'hex') AS a, encode(textsend(b), 'hex') AS b, c FROM s.bad ORDER BY id`,
      );
    const before = await bytes();
    const { key, warnings } = await runBackup(store, url, ['s'], { definitions: 'off' });
    expect(warnings).toEqual([
      's.bad hold bytes that are not valid UTF8. snapshotd restores them; pg_dump and psql do not.',
    ]);
    await sql(url, 'TRUNCATE s.bad');
    await runVerify(store, url, ['s'], key);
    await runRestore(store, url, ['s'], key);
    expect(await bytes()).toEqual(before);
  });

  test('rows that a drill cannot load leave the archive not restorable, without saying what they hold', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.t (a text, f regproc[]); INSERT INTO s.t VALUES ('secret', ARRAY['lower(text)'::regprocedure::oid::regproc])`,
    );
    const { key, warnings } = await runBackup(store, url, ['s'], { definitions: 'required' });
    expect(warnings).toEqual([
      'A restore may fail: values of s.t.f have the type regproc or regoper, which PostgreSQL cannot read back if functions or operators share their name. Use regprocedure or regoperator.',
    ]);
    const record = async (of: string) => {
      const object = await store.open(`${of}.verified.json`, new AbortController().signal);
      if (object === undefined) throw new Error('there is no record');
      return (await buffer(object.read(0, object.length))).toString();
    };
    await runVerify(store, url, ['s'], key);
    expect(JSON.parse(await record(key))).toMatchObject({ restorable: true });
    await expect(runVerify(store, url, ['s'], key, { level: 'DRILL' })).rejects.toThrow('42725');
    expect(JSON.parse(await record(key))).toMatchObject({
      restorable: false,
      reason: expect.stringContaining('ambiguous_function') as string,
    });

    await sql(url, `TRUNCATE s.t; ALTER TABLE s.t DROP f; INSERT INTO s.t VALUES ('secret')`);
    // An index that fails is named as not proven, without its function's words.
    const boom = (body: string) =>
      `CREATE OR REPLACE FUNCTION s.boom(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN ${body}; END $$`;
    await sql(
      url,
      `${boom('RETURN v')}; CREATE INDEX failing ON s.t (s.boom(a)); ${boom("RAISE 'no %', v")}`,
    );
    const indexed = await runBackup(store, url, ['s'], { definitions: 'required' });
    const { verification } = await runVerify(store, url, ['s'], indexed.key, { level: 'DRILL' });
    expect(verification.notProven).toContainEqual(expect.stringMatching(/index s\.failing \(.*P0001/));
    expect(await record(indexed.key)).not.toContain('secret');

    await sql(
      url,
      `DROP INDEX s.failing; ALTER TABLE s.t ADD CHECK (length(s.boom(a)) > 0) NOT VALID; UPDATE pg_constraint SET convalidated = true WHERE connamespace = 's'::regnamespace`,
    );
    const other = await runBackup(store, url, ['s'], { definitions: 'required' });
    await expect(runVerify(store, url, ['s'], other.key, { level: 'DRILL' })).rejects.toThrow('P0001');
    const text = await record(other.key);
    expect(JSON.parse(text)).toMatchObject({ restorable: false, level: 'DRILL' });
    expect(text).not.toContain('secret');
  });

  test('the locks of a restore are compared with what the server has', async () => {
    const session = await Session.open(server, { applicationName: 'test' });
    try {
      expect(await warnOfLocks(session, [], 100)).toEqual([]);
      expect(await expectRoomForLocks(session, [], 100)).toEqual([]);
      const [settings] = await sql<{ each: number; holders: number }>(
        server,
        `SELECT current_setting('max_locks_per_transaction')::int AS each,
                current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int AS holders`,
      );
      const { each = 0, holders = 0 } = settings ?? {};
      const warning = new RegExp(
        `^A restore may fail: It needs about ${each * holders + 1} locks, .* promises ${each * holders}\\. Set max_locks_per_transaction to ${each + 1} or more, and restart PostgreSQL\\.$`,
      );
      expect(await warnOfLocks(session, [], each * holders)).toEqual([]);
      expect(await warnOfLocks(session, [], each * holders + 1)).toEqual([
        expect.stringMatching(warning) as string,
      ]);
      // PostgreSQL may have room for these: only a restore tells.
      for (const more of [each * holders + 1, each * holders * 2])
        expect(await expectRoomForLocks(session, [], more)).toHaveLength(1);
      await expect(expectRoomForLocks(session, [], each * holders * 10)).rejects.toThrow(
        /ran out of memory for locks\.$/,
      );
    } finally {
      await session.close();
    }
  });
});

test('a restore that runs out of locks says what to set, after a verification that warned of it', async () => {
  const settings = { max_locks_per_transaction: '10', max_connections: '10', max_worker_processes: '2' };
  // It says so in German: Debian's PostgreSQL has the translations, and needs no installed locale but this one.
  const language = process.env['LANGUAGE'];
  process.env['LANGUAGE'] = 'de';
  const server = await OwnServer.postgres({
    settings: { ...settings, lc_messages: 'C.UTF-8' },
    binaries: servers.debianPostgres?.binaries,
  }).finally(() => {
    if (language === undefined) delete process.env['LANGUAGE'];
    else process.env['LANGUAGE'] = language;
  });
  try {
    await sql(
      server.url,
      `DO $$ BEGIN
         CREATE SCHEMA s;
         FOR n IN 1..200 LOOP
           EXECUTE format('CREATE TABLE s.t%s (a int PRIMARY KEY, b text)', n);
           IF n % 50 = 0 THEN COMMIT; END IF;
         END LOOP;
       END $$`,
    );
    const { key } = await runBackup(store, server.url, ['s'], { definitions: 'off' });
    const advice =
      'It needs about 800 locks, and max_locks_per_transaction (10) × (max_connections (10) + max_prepared_transactions (0)) promises 100. Set max_locks_per_transaction to 80 or more, and restart PostgreSQL.';
    expect(await runVerify(store, server.url, ['s'], key)).toMatchObject({
      warnings: [`A restore may fail: ${advice}`],
    });
    await expect(runRestore(store, server.url, ['s'], key)).rejects.toMatchObject({
      code: 'DATABASE_QUERY_FAILED',
      hint: `Nothing was changed. ${advice}`,
    });
  } finally {
    await server.stop();
  }
});
