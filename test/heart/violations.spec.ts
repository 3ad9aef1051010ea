import { randomBytes } from 'node:crypto';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, sql, storeOfTests } from '../support/servers.js';
import { stateOf } from '../support/state.js';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  test('rows that violate valid keys and checks are refused, or come back with these as NOT VALID', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; SET search_path TO s;
       CREATE FUNCTION ok(int) RETURNS boolean LANGUAGE sql AS 'SELECT true'; CREATE DOMAIN d AS int CONSTRAINT fine CHECK (s.ok(VALUE));
       CREATE TABLE p (a int, b int, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 1);
       CREATE TABLE c (a int, b int, v int CONSTRAINT called CHECK (s.ok(v)), w int, x d);
       INSERT INTO c VALUES (1, 1, 1, -1, 1), (1, NULL, 2, 2, 2);
       ALTER TABLE c ADD CONSTRAINT plain CHECK (w > 0) NOT VALID; COMMENT ON CONSTRAINT plain ON c IS 'once valid';
       ALTER TABLE c ADD CONSTRAINT key FOREIGN KEY (a, b) REFERENCES p MATCH FULL ON DELETE CASCADE NOT VALID; COMMENT ON CONSTRAINT key ON c IS 'the key';
       UPDATE pg_constraint SET convalidated = true WHERE connamespace = 's'::regnamespace;
       CREATE OR REPLACE FUNCTION ok(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 <> 2';`,
    );
    const before = await stateOf(url, ['s']);
    const { key } = await runBackup(store, url, ['s'], { definitions: 'required' });
    const { warnings } = await runVerify(store, url, ['s'], key, { level: 'DRILL' });
    expect(warnings.toSorted()).toEqual(
      [
        'fk constraint s.c key',
        'the check called of s.c',
        'the check fine of s.d',
        'the check plain of s.c',
      ].map(
        (what) => `The recovered database did not have this exactly: ${what} (NOT VALID: rows violate it).`,
      ),
    );
    await expect(runRestore(store, url, ['s'], key)).rejects.toMatchObject({
      code: 'CHECK_VIOLATED',
      message: 'Rows violate the check plain of s.c.',
      hint: 'Nothing was changed. Restore with "keepViolations": true to reinstate the check as NOT VALID, or run first: ALTER TABLE "s"."c" DROP CONSTRAINT "plain";',
    });
    // Without the check that a load runs into, the key is next, then those that run in the end.
    const next = async (statement: string) => {
      await sql(url, statement);
      return runRestore(store, url, ['s'], key).catch((error: unknown) => error);
    };
    const plain = 'ALTER TABLE s.c DROP CONSTRAINT plain';
    expect(await next(plain)).toMatchObject({ code: 'FOREIGN_KEY_DANGLING' });
    const called = await next('ALTER TABLE s.c DROP CONSTRAINT key');
    expect(called).toMatchObject({
      code: 'CHECK_VIOLATED',
      message: 'Rows violate the check called of s.c.',
    });
    expect(await next('ALTER TABLE s.c DROP CONSTRAINT called')).toMatchObject({ code: 'CHECK_VIOLATED' });

    await sql(
      url,
      `SET search_path TO s; ALTER TABLE c ADD CONSTRAINT called CHECK (s.ok(v)) NOT VALID;
       ALTER TABLE c ADD CONSTRAINT plain CHECK (w > 0) NOT VALID; COMMENT ON CONSTRAINT plain ON c IS 'once valid';
       ALTER TABLE c ADD CONSTRAINT key FOREIGN KEY (a, b) REFERENCES p MATCH FULL ON DELETE CASCADE NOT VALID; COMMENT ON CONSTRAINT key ON c IS 'the key';
       UPDATE pg_constraint SET convalidated = true WHERE connamespace = 's'::regnamespace;`,
    );
    await sql(url, 'SET session_replication_role = replica; TRUNCATE s.p, s.c');
    const { omissions } = await runRestore(store, url, ['s'], key, { keepViolations: true });
    expect(omissions?.map((what) => what.replace(/ \(.*/s, ''))).toEqual([
      'the foreign key key of s.c',
      'the check called of s.c',
      'the check plain of s.c',
      'the check fine of the domain s.d',
    ]);
    // They hold for new rows, as before, and everything else is equal.
    const after = await stateOf(url, ['s']);
    const valid = (state: unknown) =>
      JSON.parse(
        JSON.stringify(state, (name, value: unknown) =>
          name === 'convalidated'
            ? true
            : typeof value === 'string'
              ? value.replace(' NOT VALID', '')
              : value,
        ),
      ) as unknown;
    expect(valid(after)).toEqual(valid(before));
    expect(after).not.toEqual(before);
    // Now it can be restored as it is.
    const again = await runBackup(store, url, ['s']);
    await runVerify(store, url, ['s'], again.key);
    expect(await runRestore(store, url, ['s'], again.key)).toMatchObject({ omissions: [] });
    expect(await stateOf(url, ['s'])).toEqual(after);
  });

  test('a restore refuses rows that the checks, domains and bounds of today refuse', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; SET search_path TO s; CREATE TABLE read (k int); INSERT INTO read VALUES (1);
       CREATE FUNCTION small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 10'; CREATE FUNCTION is_there(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT EXISTS (SELECT FROM s.read WHERE k = $1)';
       CREATE DOMAIN d AS int CONSTRAINT fine CHECK (s.small(VALUE)); CREATE TABLE t (a int CHECK (s.is_there(a)), b int CHECK (s.small(b)), c d, CHECK (t IS NOT NULL), CHECK (tableoid::regclass::text ~ '^(s[.])?t$'));
       ALTER TABLE t ADD g boolean GENERATED ALWAYS AS (CASE WHEN s.is_there(a) THEN true END) STORED CHECK (g IS NOT NULL); INSERT INTO t VALUES (1, 5, 5);
       CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (5);
       CREATE TABLE h (a int, b text) PARTITION BY HASH (a, b); CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 1, REMAINDER 0); INSERT INTO h VALUES (1, NULL)`,
    );
    const { key } = await runBackup(store, url, ['s']);
    await sql(url, 'TRUNCATE s.read, s.t, s.p');
    const small = (limit: number) =>
      `CREATE OR REPLACE FUNCTION s.small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < ${limit}'`;
    const bounds = (from: number) =>
      `ALTER TABLE s.p DETACH PARTITION s.p1; ALTER TABLE s.p ATTACH PARTITION s.p1 FOR VALUES FROM (${from}) TO (10)`;
    for (const [change, undo, message] of [
      [
        'ALTER TABLE s.t ADD CONSTRAINT added CHECK (b > 5)',
        'ALTER TABLE s.t DROP CONSTRAINT added',
        'Rows violate the check added of s.t.',
      ],
      [
        'ALTER TABLE s.t ADD CONSTRAINT added CHECK (10 / (b - 5) > 0)',
        'ALTER TABLE s.t DROP CONSTRAINT added',
        expect.stringMatching(/loading s\.t, .*SQLSTATE 22012\)\.$/),
      ],
      [bounds(6), bounds(0), 'Rows violate the bounds of s.p1.'],
      [small(4), small(10), 'Rows violate the check t_b_check of s.t.'],
      [
        `${small(4)}; ALTER TABLE s.t DROP CONSTRAINT t_b_check`,
        small(10),
        'Rows violate the check fine of the domain s.d.',
      ],
    ] as const) {
      await sql(url, change);
      await expect(runRestore(store, url, ['s'], key)).rejects.toMatchObject({ message });
      await sql(url, undo);
    }
    expect(await runRestore(store, url, ['s'], key)).toMatchObject({ omissions: [] });
  });

  test('a verification warns of what is newer than the archive; a load names what refuses its rows, and what to do', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; SET search_path TO s; CREATE FUNCTION up(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
       CREATE DOMAIN d AS int; CREATE DOMAIN e AS int CONSTRAINT up CHECK (s.up(VALUE)); CREATE TABLE t (a int, b d, c e[]);
       INSERT INTO t VALUES (1, 1, '{1}'), (1, NULL, '{-1}'), (NULL, 1, '{1}');
       CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE rest PARTITION OF p DEFAULT; INSERT INTO p VALUES (5)`,
    );
    const { key } = await runBackup(store, url, ['s'], { definitions: 'off' });
    await sql(url, 'TRUNCATE s.t, s.p');
    const warnings = async () => (await runVerify(store, url, ['s'], key)).warnings;
    expect(await warnings()).toEqual([]);
    const kept = '"keepViolations": true';
    for (const [change, undo, keepViolations, message, hint, newer] of [
      [
        'ALTER TABLE s.t ALTER a SET NOT NULL',
        'ALTER TABLE s.t ALTER a DROP NOT NULL',
        true,
        'Rows violate NOT NULL of s.t.a.',
        'ALTER TABLE "s"."t" ALTER "a" DROP NOT NULL;',
        ['NOT NULL of s.t.a'],
      ],
      [
        'ALTER DOMAIN s.d SET NOT NULL',
        'ALTER DOMAIN s.d DROP NOT NULL',
        true,
        'Rows violate NOT NULL of the domain s.d.',
        'ALTER DOMAIN "s"."d" DROP NOT NULL;',
        ['NOT NULL of the domain s.d'],
      ],
      [
        "CREATE OR REPLACE FUNCTION s.up(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0'",
        "CREATE OR REPLACE FUNCTION s.up(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'",
        true,
        'Rows violate the check up of the domain s.e.',
        'cannot be suspended: run first: ALTER DOMAIN "s"."e" DROP CONSTRAINT "up";',
        [],
      ],
      [
        'ALTER TABLE s.t ADD CONSTRAINT "Up" CHECK (a > 1)',
        'ALTER TABLE s.t DROP CONSTRAINT "Up"',
        false,
        'Rows violate the check Up of s.t.',
        kept,
        ['The check Up of s.t'],
      ],
      [
        'ALTER TABLE s.p DETACH PARTITION s.p1; ALTER TABLE s.p ATTACH PARTITION s.p1 FOR VALUES FROM (6) TO (10)',
        'ALTER TABLE s.p DETACH PARTITION s.p1; ALTER TABLE s.p ATTACH PARTITION s.p1 FOR VALUES FROM (0) TO (10)',
        true,
        'Rows violate the bounds of s.p1.',
        'bounds of the time of the backup',
        ['The bound of s.p1', 'The bound of s.rest'],
      ],
    ] as const) {
      await sql(url, change);
      expect(await warnings()).toEqual(
        newer.map(
          (what) => `${what} is not in the archive. Only a restore proves that the archived rows satisfy it.`,
        ),
      );
      await expect(runRestore(store, url, ['s'], key, { keepViolations })).rejects.toMatchObject({
        code: 'CHECK_VIOLATED',
        message,
        hint: expect.stringContaining(hint) as string,
      });
      await sql(url, undo);
    }
    const checks = Array.from({ length: 22 }, (_, n) => `ADD CHECK (a <> ${n + 5})`);
    await sql(url, `ALTER TABLE s.t ${checks.join(', ')}`);
    const many = await warnings();
    expect(many).toHaveLength(21);
    expect(many.at(-1)).toBe(
      'Neither are 2 more checks, NOT NULL or bounds. Only a restore proves that the archived rows satisfy them.',
    );
    await sql(url, 'ALTER TABLE s.t ADD CONSTRAINT once UNIQUE (a)');
    await expect(runRestore(store, url, ['s'], key)).rejects.toMatchObject({
      message: expect.stringContaining('23505') as string,
      hint: expect.stringContaining('once is newer than the archive, drop it first') as string,
    });
  });

  test('a key of a partitioned table comes back as NOT VALID, or is named where that cannot be', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; SET search_path TO s; CREATE TABLE r (a int PRIMARY KEY);
       CREATE TABLE g (a int CONSTRAINT gk REFERENCES r) PARTITION BY LIST (a); CREATE TABLE g1 PARTITION OF g DEFAULT;
       SET session_replication_role = replica; INSERT INTO g VALUES (5)`,
    );
    const { key } = await runBackup(store, url, ['s']);
    const restored = runRestore(store, url, ['s'], key, { keepViolations: true });
    const [version] = await sql<{ major: number }>(
      url,
      `SELECT current_setting('server_version_num')::int / 10000 AS major`,
    );
    if (version !== undefined && version.major >= 18)
      expect(await restored).toMatchObject({
        omissions: ['the foreign key gk of s.g (NOT VALID: rows violate it)'],
      });
    else
      await expect(restored).rejects.toMatchObject({
        code: 'FOREIGN_KEY_DANGLING',
        message: expect.stringContaining('gk of s.g') as string,
        hint: expect.stringContaining('Before PostgreSQL 18') as string,
      });
  });

  test('names the objects that an ordinary owner cannot restore exactly', async () => {
    const admin = await newDatabase(server);
    const owner = `owner_${randomBytes(4).toString('hex')}`;
    const url = new URL(admin);
    [url.username, url.password] = [owner, 'pw'];
    await sql(
      admin,
      `CREATE ROLE ${owner} LOGIN PASSWORD 'pw'; GRANT CREATE ON DATABASE ${url.pathname.slice(1)} TO ${owner}; SET ROLE ${owner};
       CREATE SCHEMA s; SET search_path TO s; CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int REFERENCES p); INSERT INTO p VALUES (1); INSERT INTO c VALUES (1);
       RESET ROLE; CREATE SCHEMA closed; CREATE FUNCTION closed.small(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 10';
       CREATE ROLE ${owner}_far; CREATE TABLE closed.far (id int PRIMARY KEY); INSERT INTO closed.far VALUES (1); ALTER TABLE closed.far OWNER TO ${owner}_far;
       ALTER TABLE s.c ADD CONSTRAINT small CHECK (closed.small(id)), ADD CONSTRAINT far FOREIGN KEY (id) REFERENCES closed.far; ALTER TABLE s.c DISABLE TRIGGER ALL; CREATE MATERIALIZED VIEW public.m AS SELECT count(*) FROM s.c;`,
    );
    await sql(
      url.href,
      `SET check_function_bodies TO off;
       -- Each needs the other.
       CREATE FUNCTION s.f(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n + (SELECT count(*) FROM s.g2)::int';
       CREATE FUNCTION s.h(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN n + (SELECT count(*) FROM s.g1); END';
       CREATE TABLE s.g1 (n int); CREATE TABLE s.g2 (n int);
       ALTER TABLE s.g1 ADD m int GENERATED ALWAYS AS (s.f(n)) STORED; ALTER TABLE s.g2 ADD m int GENERATED ALWAYS AS (s.h(n)) STORED;
       INSERT INTO s.g1 VALUES (1); INSERT INTO s.g2 VALUES (1)`,
    );
    const { key } = await runBackup(store, url.href, ['s']);
    await sql(admin, 'ALTER TABLE s.c DROP CONSTRAINT small, DROP CONSTRAINT far');
    const { omissions } = await runRestore(store, url.href, ['s'], key);
    expect(omissions).toEqual([
      'generated columns of s.g2 (computed before all rows of s.g1 were loaded, which their functions may read)',
      'the foreign key c_id_fkey of s.c (its triggers were disabled and are now enabled: only a superuser may disable them)',
      expect.stringMatching(/^the materialized view public\.m \(not refreshed: it belongs to /),
    ]);
  });
});
