import { randomBytes } from 'node:crypto';
import { EvilSchema, unharmed } from '../support/evil-schema.js';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, seed, sql, storeOfTests } from '../support/servers.js';
import { stateOf } from '../support/state.js';
import { StatementProxy } from '../support/statement-proxy.js';

const store = storeOfTests();

/** Enough rows for a second reader session and a second session for statistics. */
const LARGE = 100_000;

describe.each(oneOf(postgresMajors, seed))('%s', (_, server) => {
  let url: string;
  let database: string;
  /** Roles belong to the server: one for each test. */
  let owner: string;

  beforeEach(async () => {
    url = await newDatabase(server);
    database = new URL(url).pathname.slice(1);
    owner = `owner_${randomBytes(4).toString('hex')}`;
    await sql(url, `CREATE ROLE ${owner}; CREATE SCHEMA s AUTHORIZATION ${owner};`);
  });

  test("no session meets the database's search_path, and a pooler that refuses options lets all of them in", async () => {
    await sql(
      url,
      `-- A superuser's, in a superuser's schema, whose blocks may be read by several sessions.
       ALTER SCHEMA s OWNER TO CURRENT_USER; GRANT ALL ON SCHEMA s TO ${owner};
       CREATE TABLE s.a (id int PRIMARY KEY, v text); CREATE TABLE s.b (id int REFERENCES s.a, v varchar);
       INSERT INTO s.a SELECT i, 'a' || i FROM generate_series(1, ${LARGE}) i; INSERT INTO s.b SELECT id, v FROM s.a;
       SET ROLE ${owner};
       CREATE FUNCTION s.is_low(v text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN v = lower(v); END $$;
       CREATE TABLE s.c (v text CHECK (s.is_low(v))); INSERT INTO s.c VALUES ('low');
       ALTER TABLE s.c ADD CONSTRAINT old CHECK (length(v) > 100) NOT VALID;
       CREATE MATERIALIZED VIEW s.m AS SELECT lower(v) AS v FROM s.c;
       CREATE SEQUENCE s.q;`,
    );
    const evil = await EvilSchema.in(url);
    await evil.addTwins();
    await sql(url, `ALTER DATABASE ${database} SET search_path TO ${evil.name}, pg_catalog`);
    expect(await sql(url, `SELECT set_config('work_mem', '1MB', false)`)).toHaveLength(1);
    expect(evil.calls()).toEqual(['set_config']);

    const pooler = await StatementProxy.to(url);
    pooler.refusesOptions = true;
    const first = new Map<string, string>();
    pooler.before = async (statement) =>
      void (first.has(statement.session) || first.set(statement.session, statement.sql));
    try {
      const journal = new MemoryJournal();
      const { key } = await runBackup(store, pooler.url, ['s'], { journal, definitions: 'required' });
      await runVerify(store, pooler.url, ['s'], key, { level: 'DRILL' });
      const { omissions } = await runRestore(store, pooler.url, ['s'], key, { parallelJobs: 2 });
      expect(omissions).toEqual([]);
    } finally {
      await pooler.close();
    }
    expect(evil.calls()).toEqual(['set_config']);
    // pg_dump qualifies its own first statement.
    const ours = [...first].filter(([session]) => !session.endsWith(' definitions'));
    expect(ours.filter(([, statement]) => !/^SET [^;]*; SET search_path /.test(statement))).toEqual([]);
    // Which of the parallel sessions are needed depends on their speed.
    const kinds = ours.map(([session]) =>
      session.replace(/^snapshotd (\w+) 1 \w+/, '$1').replace(/ \d+$/, ''),
    );
    expect([...new Set(kinds)]).toEqual([
      'backup',
      'backup observer',
      'backup session',
      'verify',
      'verify session',
      'restore',
      'restore observer',
      'restore session',
    ]);
  });

  test('a role that may create in public does not get its function into a load', async () => {
    const evil = await EvilSchema.in(url);
    const lower = (schema: string) =>
      `CREATE FUNCTION ${schema}.lower(varchar) RETURNS text LANGUAGE plpgsql AS $$${evil.body('lower', 'pg_catalog.lower($1)')}$$;`;
    await sql(
      url,
      `SET ROLE ${owner};
       CREATE FUNCTION s.is_low(v varchar) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN v = lower(v); END $$;
       CREATE TABLE s.t (v varchar CHECK (s.is_low(v)), low boolean GENERATED ALWAYS AS (s.is_low(v)) STORED);
       CREATE INDEX ON s.t (s.is_low(v));
       INSERT INTO s.t VALUES ('low'); RESET ROLE;
       GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE SCHEMA open AUTHORIZATION ${evil.author};
       GRANT USAGE ON SCHEMA open TO PUBLIC; ALTER DATABASE ${database} SET search_path TO open, public, "$user";
       SET ROLE ${evil.author}; ${lower('public')} ${lower('open')}`,
    );
    const { key } = await runBackup(store, url, ['s']);
    const loaded = async () => {
      await runRestore(store, url, ['s'], key);
      await runVerify(store, url, ['s'], key);
    };
    await loaded();
    // Objects created while it was allowed stay, and so do those of an owner who may not create any.
    await sql(unharmed(url), 'REVOKE CREATE ON SCHEMA public FROM PUBLIC');
    await loaded();
    // A schema that is named as the owner, which "$user" means, may be anybody's.
    await sql(
      unharmed(url),
      `CREATE SCHEMA ${owner} AUTHORIZATION ${evil.author}; GRANT USAGE ON SCHEMA ${owner} TO PUBLIC;
       SET ROLE ${evil.author}; ${lower(owner)}`,
    );
    await loaded();
    expect(evil.calls()).toEqual([]);
    expect(await sql(unharmed(url), 'SELECT v, low FROM s.t')).toEqual([{ v: 'low', low: true }]);
  });

  test('a function that is not found names the schemas that were dropped, and what to do', async () => {
    await sql(
      url,
      `CREATE FUNCTION public.fold(v text) RETURNS text LANGUAGE sql AS 'SELECT pg_catalog.lower(v)';
       CREATE ROLE other_${owner}; GRANT CREATE ON SCHEMA public TO other_${owner}, PUBLIC;
       SET ROLE ${owner};
       CREATE FUNCTION s.is_folded(v text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN v = fold(v); END $$;
       CREATE TABLE s.t (v text CHECK (s.is_folded(v))); INSERT INTO s.t VALUES ('low');`,
    );
    const { key } = await runBackup(store, url, ['s']);
    const failure = await runRestore(store, url, ['s'], key).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'DATABASE_QUERY_FAILED',
      message: expect.stringContaining('undefined_function') as string,
      confidential: {
        message: expect.stringContaining('function fold(text) does not exist') as string,
        words: expect.any(String) as string,
      },
      hint:
        'The schema public was omitted from search_path because every role may create in it. ' +
        'Run: REVOKE CREATE ON SCHEMA "public" FROM PUBLIC; ' +
        `The schema public was omitted from search_path because the role other_${owner} may create in it. ` +
        `Run: REVOKE CREATE ON SCHEMA "public" FROM "other_${owner}";`,
    });
    await sql(url, `REVOKE CREATE ON SCHEMA public FROM PUBLIC, other_${owner}`);
    expect(await runRestore(store, url, ['s'], key)).toMatchObject({ entities: 1, omissions: [] });
    // Somebody else's function is named, too.
    await sql(
      url,
      `CREATE FUNCTION public.other() RETURNS int LANGUAGE sql AS 'SELECT 1';
       ALTER FUNCTION public.other() OWNER TO other_${owner}; ALTER SCHEMA public OWNER TO other_${owner};`,
    );
    await expect(runRestore(store, url, ['s'], key)).rejects.toMatchObject({
      hint:
        `The schema public was omitted from search_path because the role other_${owner} owns it. ` +
        `Run: ALTER SCHEMA "public" OWNER TO "${owner}";`,
    });
    await sql(url, `ALTER SCHEMA public OWNER TO ${owner}`);
    await expect(runRestore(store, url, ['s'], key)).rejects.toMatchObject({
      hint:
        `The schema public was omitted from search_path because the function public.other() in it belongs to the role other_${owner}. ` +
        `Drop it, or make ${owner} its owner.`,
    });
  });

  test("functions find what they call on the path of their table's owner", async () => {
    await sql(
      url,
      `CREATE SCHEMA ${owner} AUTHORIZATION ${owner}; CREATE SCHEMA tools AUTHORIZATION ${owner};
       CREATE ROLE second_${owner} LOGIN; GRANT USAGE, CREATE ON SCHEMA s TO second_${owner};
       ALTER ROLE second_${owner} SET search_path TO nowhere;
       ALTER ROLE second_${owner} IN DATABASE ${database} SET search_path TO tools, pg_catalog, pg_temp;
       GRANT USAGE ON SCHEMA tools TO second_${owner};
       SET ROLE ${owner};
       -- One by "$user", another by what is set for its role in this database.
       CREATE FUNCTION ${owner}.mine(v text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.lower(v)';
       CREATE FUNCTION tools.mine(v text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.upper(v)';
       CREATE FUNCTION s.norm(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN mine(v); END $$;
       CREATE DOMAIN s.normal AS text CHECK (s.norm(VALUE) = VALUE);
       CREATE TABLE s.t (v s.normal, norm text GENERATED ALWAYS AS (s.norm(v)) STORED, CHECK (s.norm(v) = v),
         EXCLUDE (s.norm(v) WITH =) DEFERRABLE INITIALLY DEFERRED);
       CREATE TABLE s.key (v text PRIMARY KEY);
       ALTER TABLE s.t ADD FOREIGN KEY (v) REFERENCES s.key DEFERRABLE INITIALLY DEFERRED;
       CREATE TABLE s.root (v text) PARTITION BY LIST (s.norm(v)); CREATE TABLE s.leaf PARTITION OF s.root FOR VALUES IN ('a');
       CREATE TABLE s.big (v text, filler text); CREATE INDEX by_norm ON s.big (s.norm(v)) WHERE s.norm(v) <> '';
       CREATE INDEX by_length ON s.big (length(v));
       CREATE FUNCTION s.own(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql SET search_path TO ${owner} AS $$ BEGIN RETURN mine(v); END $$;
       CREATE INDEX by_own ON s.big (s.own(v));
       SET search_path TO "$user";
       INSERT INTO s.key VALUES ('a'), ('b'); INSERT INTO s.t (v) VALUES ('a'), ('b'); INSERT INTO s.root VALUES ('A');
       INSERT INTO s.big SELECT i::text, repeat('x', 2000) FROM generate_series(1, 2500) i;
       RESET ROLE; SET ROLE second_${owner};
       CREATE TABLE s.u (v text CHECK (s.norm(v) = v)); SET search_path TO tools; INSERT INTO s.u VALUES ('A');`,
    );
    // From PostgreSQL 17 on REFRESH and ANALYZE have a path of their own, under which these functions fail.
    const [{ old } = { old: false }] = await sql<{ old: boolean }>(
      url,
      `SELECT current_setting('server_version_num')::int < 170000 AS old`,
    );
    if (old)
      await sql(
        url,
        `SET ROLE second_${owner}; SET search_path TO tools; CREATE MATERIALIZED VIEW s.m AS SELECT s.norm(v) AS v FROM s.u`,
      );
    const { key } = await runBackup(store, url, ['s']);
    const before = await stateOf(url, ['s']);
    const oids = () =>
      sql<{ name: string; oid: string }>(
        url,
        `SELECT relname AS name, oid FROM pg_class WHERE relname LIKE 'by\\_%' ORDER BY relname`,
      );
    const indexes = await oids();
    const result = await runRestore(store, url, ['s'], key);
    expect(result).toMatchObject({ entities: 2506, ...(old && { omissions: [] }) });
    expect(await stateOf(url, ['s'])).toEqual(before);
    // The index that needs the owner's path is kept; the others are rebuilt.
    const kept = (await oids()).filter(({ oid }) => indexes.some((index) => index.oid === oid));
    expect(kept.map(({ name }) => name)).toEqual(['by_norm']);
  });

  test("a member of the owner's role finds them too, in what is generated and checked", async () => {
    const member = new URL(url);
    [member.username, member.password] = [`member_${owner}`, 'pw'];
    await sql(
      url,
      `CREATE ROLE member_${owner} LOGIN PASSWORD 'pw' IN ROLE ${owner}; GRANT CREATE ON DATABASE ${database} TO member_${owner};
       REVOKE CREATE ON SCHEMA public FROM PUBLIC; ALTER ROLE ${owner} SET search_path = s, public;
       SET ROLE ${owner}; SET search_path TO s, public;
       CREATE FUNCTION fold(v text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.lower(v)';
       CREATE FUNCTION norm(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN fold(v); END $$;
       CREATE FUNCTION known(v text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN EXISTS (SELECT FROM word WHERE w = fold(v)); END $$;
       CREATE TABLE word (w text); INSERT INTO word VALUES ('low');
       CREATE TABLE a (v text CHECK (known(v)), n text GENERATED ALWAYS AS (norm(v)) STORED); INSERT INTO a VALUES ('LOW')`,
    );
    const before = await stateOf(url, ['s']);
    const { key } = await runBackup(store, member.href, ['s']);
    await sql(url, `TRUNCATE s.a, s.word`);
    await runVerify(store, member.href, ['s'], key);
    await runRestore(store, member.href, ['s'], key);
    expect(await stateOf(url, ['s'])).toEqual(before);
  });

  test('reinstated objects use the same functions as before', async () => {
    await sql(
      url,
      `SET ROLE ${owner};
       CREATE FUNCTION s.length(v text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
       CREATE FUNCTION s.array_append(a int[], b int) RETURNS int[] IMMUTABLE LANGUAGE sql AS 'SELECT a';
       CREATE FUNCTION s.same(a text, b text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
       CREATE OPERATOR s.= (LEFTARG = text, RIGHTARG = text, FUNCTION = s.same);
       CREATE DOMAIN s.word AS text;
       CREATE TABLE s.t (id int, v text, w s.word, filler text);
       INSERT INTO s.t SELECT i, '', 'w', repeat('x', 2000) FROM generate_series(1, 2500) i;
       ALTER TABLE s.t ADD CONSTRAINT theirs CHECK (pg_catalog.length(v) > 1) NOT VALID;
       ALTER TABLE s.t ADD CONSTRAINT "the other" CHECK (s.length(v) > 1 OR v OPERATOR(s.=) 'x') NOT VALID;
       ALTER TABLE s.t ADD CONSTRAINT anys CHECK (1 = ANY (array_append('{2}'::int[], id)) OR v = 'x') NOT VALID;
       ALTER DOMAIN s.word ADD CONSTRAINT long CHECK (pg_catalog.length(VALUE) > 1) NOT VALID;
       CREATE INDEX appended ON s.t ((array_append('{2}'::int[], id))) WHERE length(v) = 0 AND v = '';
       RESET ROLE; ALTER DATABASE ${database} SET search_path TO s, pg_catalog;`,
    );
    const bindings = () =>
      sql(
        unharmed(url),
        `SELECT pg_describe_object(classid, objid, objsubid) AS what, pg_describe_object(refclassid, refobjid, refobjsubid) AS on_what
           FROM pg_depend
          WHERE refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND classid IN ('pg_constraint'::regclass, 'pg_class'::regclass)
          ORDER BY 1, 2`,
      );
    const definition = () =>
      sql<{ node: string }>(
        unharmed(url),
        `SELECT regexp_replace(conbin::text, ':(location|conparentid) -?\\d+', '', 'g') AS node FROM pg_constraint
          WHERE conbin IS NOT NULL ORDER BY conname`,
      );
    const before = [await stateOf(unharmed(url), ['s']), await bindings(), await definition()];
    const { key } = await runBackup(store, url, ['s']);
    await runRestore(store, url, ['s'], key);
    expect([await stateOf(unharmed(url), ['s']), await bindings(), await definition()]).toEqual(before);
  });
});
