import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { servers, sql } from './servers.js';

/** A database that is hard to build from its definitions and rows. */
export interface HardDatabase {
  title: string;
  /** Options of CREATE DATABASE; `:space` is the name of a tablespace. */
  options?: string;
  /** Settings of the database, made before its objects. */
  settings?: string[];
  /** Made beside an empty schema s. `:one` and `:two` are names of new roles. */
  sql: string;
  /** The lowest major that has its features. */
  from?: number;
  /** What a recover names, and the parts that differ. */
  losses?: RegExp;
  parts?: string[];
}

const times = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => text(index)).join(' ');

const READS_Z = `CREATE TABLE s.z (k text PRIMARY KEY, v int); INSERT INTO s.z VALUES ('x', 7), ('y', 8);
  CREATE FUNCTION s.f(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT v FROM s.z WHERE k = $1';`;

export const HARD_DATABASES: HardDatabase[] = [
  {
    title: 'keys both ways between two tables',
    sql: `CREATE TABLE s.a (i int PRIMARY KEY, b int); CREATE TABLE s.b (i int PRIMARY KEY, a int);
      ${times(5, (k) => `ALTER TABLE s.a ADD c${k} int UNIQUE; ALTER TABLE s.b ADD c${k} int UNIQUE;`)}
      INSERT INTO s.a SELECT i, i, i, i, i, i, i FROM generate_series(1, 500) i; INSERT INTO s.b TABLE s.a;
      ${times(5, (k) => `ALTER TABLE s.a ADD FOREIGN KEY (b) REFERENCES s.b (c${k}); ALTER TABLE s.b ADD FOREIGN KEY (a) REFERENCES s.a (c${k});`)}`,
  },
  {
    title: 'many indexes of one table with REPLICA IDENTITY and CLUSTER',
    sql: `CREATE TABLE s.t (a int NOT NULL, b int NOT NULL); INSERT INTO s.t SELECT i, i FROM generate_series(1, 500) i;
      ${times(8, (k) => `CREATE ${k < 4 ? 'UNIQUE' : ''} INDEX i${k} ON s.t (${'ab'[k % 2]}); COMMENT ON INDEX s.i${k} IS 'number ${k}';`)}
      ALTER TABLE s.t REPLICA IDENTITY USING INDEX i2; ALTER TABLE s.t CLUSTER ON i6; ALTER INDEX s.i1 SET (fillfactor = 50); CREATE INDEX e ON s.t ((a + b)); ALTER INDEX s.e ALTER COLUMN 1 SET STATISTICS 500`,
  },
  {
    title: 'partitions in three levels, with keys from and to them',
    sql: `CREATE TABLE s.p (a int, b int, c text, PRIMARY KEY (a, b)) PARTITION BY LIST (a); CREATE INDEX ON s.p (c);
      DO $$ BEGIN FOR i IN 1..5 LOOP EXECUTE format('CREATE TABLE s.p%1$s PARTITION OF s.p FOR VALUES IN (%1$s) PARTITION BY RANGE (b)', i);
        FOR j IN 1..5 LOOP EXECUTE format('CREATE TABLE s.p%1$s_%2$s PARTITION OF s.p%1$s FOR VALUES FROM (%3$s) TO (%4$s)', i, j, j * 10, j * 10 + 10); END LOOP; END LOOP; END $$;
      INSERT INTO s.p SELECT 1 + i % 5, 10 + i, 'v' FROM generate_series(0, 49) i; CREATE TABLE s.r (x int, y int, FOREIGN KEY (x, y) REFERENCES s.p); INSERT INTO s.r SELECT a, b FROM s.p`,
  },
  {
    title: 'generated columns, indexes, domains and checks that read tables which come later',
    sql: `${READS_Z} CREATE TABLE s.a (k text, g int GENERATED ALWAYS AS (s.f(k)) STORED); INSERT INTO s.a VALUES ('x'), ('y'); CREATE INDEX ON s.a (s.f(k));
      CREATE DOMAIN s.known AS text CHECK (s.f(VALUE) IS NOT NULL); CREATE TABLE s.b (d s.known, ds s.known[]); INSERT INTO s.b VALUES ('x', '{y}'); CREATE TABLE s.c (k text CHECK (s.f(k) > 0)); INSERT INTO s.c VALUES ('y')`,
  },
  {
    title: 'a check that no longer holds',
    sql: `CREATE TABLE s.t (a int, CONSTRAINT soon CHECK (a < 0) NOT VALID); ALTER TABLE s.t DROP CONSTRAINT soon; CREATE FUNCTION s.limited(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 < 100; END';
      ALTER TABLE s.t ADD CONSTRAINT soon CHECK (s.limited(a)); INSERT INTO s.t VALUES (7); COMMENT ON CONSTRAINT soon ON s.t IS 'kept'; CREATE OR REPLACE FUNCTION s.limited(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 < 5; END'`,
    losses: /^(the check soon of s\.t \(NOT VALID|check constraint s\.t soon|table s\.t \(|comment s\.)/,
    parts: ['constraints', 'dump'],
  },
  {
    title: "functions that need the database's search_path",
    settings: ['SET search_path TO s, public'],
    sql: `SET search_path TO s; CREATE FUNCTION s.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'; CREATE FUNCTION s.four(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN twice(twice($1)); END';
      CREATE TABLE s.t (a int, g int GENERATED ALWAYS AS (s.four(a)) STORED); INSERT INTO s.t SELECT generate_series(1, 100)`,
  },
  {
    title: 'objects that pg_dump writes after the rows',
    sql: `CREATE TABLE s.t (id int PRIMARY KEY, n text); INSERT INTO s.t VALUES (1, 'a'); CREATE FUNCTION s.late() RETURNS SETOF s.t BEGIN ATOMIC SELECT id, n FROM s.t GROUP BY id; END; CREATE TABLE s.names (f regprocedure); INSERT INTO s.names VALUES ('s.late()');
      CREATE VIEW s.v AS SELECT id, n FROM s.t GROUP BY id; CREATE MATERIALIZED VIEW s.m AS TABLE s.v; CREATE TABLE s.p (a int); CREATE TABLE s.c () INHERITS (s.p); INSERT INTO s.c VALUES (-1); ALTER TABLE s.p ADD CONSTRAINT pos CHECK (a > 0) NOT VALID; COMMENT ON CONSTRAINT pos ON s.c IS 'of the child'`,
  },
  {
    title: 'an event trigger that logs, beside a materialized view',
    sql: `CREATE TABLE s.log (t text); CREATE FUNCTION s.f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO s.log VALUES (tg_tag); END $$; CREATE MATERIALIZED VIEW s.m AS SELECT 1 AS x; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION s.f(); COMMENT ON EVENT TRIGGER e IS 'logs'; ALTER EVENT TRIGGER e ENABLE ALWAYS`,
  },
  {
    title: 'standard_conforming_strings = off',
    settings: ['SET standard_conforming_strings TO off', 'SET escape_string_warning TO off'],
    sql: String.raw`CREATE TABLE s.t (a text DEFAULT 'a\\b', b text CHECK (b <> 'x\\')); INSERT INTO s.t VALUES ('\\', 'a\'b'); CREATE FUNCTION s.f() RETURNS text LANGUAGE sql AS 'SELECT \'q\\\\\'::text'; COMMENT ON TABLE s.t IS 'c \\ d'; CREATE VIEW s.v AS SELECT 'back\\slash'::text AS x`,
  },
  {
    title: 'settings that would bend what a session reads and writes',
    settings: [
      'SET statement_timeout TO 100',
      'SET lock_timeout TO 50',
      'SET idle_in_transaction_session_timeout TO 100',
      'SET default_transaction_read_only TO on',
      'SET default_transaction_isolation TO serializable',
      'SET default_transaction_deferrable TO on',
      'SET search_path TO nowhere',
      'SET quote_all_identifiers TO on',
      `SET datestyle TO 'SQL, DMY'`,
      'SET intervalstyle TO sql_standard',
      'SET extra_float_digits TO 0',
      'SET bytea_output TO escape',
      'SET xmloption TO document',
      `SET timezone TO 'Asia/Tokyo'`,
      'SET row_security TO off',
      'SET array_nulls TO off',
      'SET client_encoding TO LATIN1',
      'SET session_replication_role TO replica',
      'SET synchronous_commit TO off',
      'SET transform_null_equals TO on',
      'SET lo_compat_privileges TO on',
      'SET default_toast_compression TO pglz',
      `SET "custom.x" TO 'a, b'`,
    ],
    sql: `CREATE TABLE s.t (a int PRIMARY KEY, d date, i interval, x xml, f float8, n text[]); INSERT INTO s.t VALUES (1, '2020-01-02', '1 day 2:03', '<a/>', 0.1::float8 + 0.2, ARRAY['NULL', NULL]); CREATE TABLE s.u (a int REFERENCES s.t, CHECK (a IS NOT NULL)); CREATE MATERIALIZED VIEW s.m AS TABLE s.t`,
  },
  {
    title: 'LATIN1',
    options: `ENCODING 'LATIN1' LOCALE 'C'`,
    sql: `CREATE TABLE s."tä" ("ö" text DEFAULT 'é', CHECK ("ö" <> 'ÿ')); INSERT INTO s."tä" VALUES ('ü'), (DEFAULT); COMMENT ON TABLE s."tä" IS 'grüße'; CREATE FUNCTION s."fß"() RETURNS text LANGUAGE sql AS 'SELECT ''ß''::text'; CREATE INDEX "iö" ON s."tä" ("ö") WHERE "ö" <> 'ñ'`,
  },
  {
    title: 'EUC_JP',
    options: `ENCODING 'EUC_JP' LOCALE 'C'`,
    sql: `CREATE TABLE s."表" ("列" text DEFAULT '日本', CHECK ("列" <> '無')); INSERT INTO s."表" VALUES ('漢字'), (DEFAULT); COMMENT ON TABLE s."表" IS '説明'; CREATE INDEX "索引" ON s."表" ("列"); CREATE FUNCTION s."関数"() RETURNS text LANGUAGE sql AS 'SELECT ''ソ''::text'`,
  },
  {
    title: 'a locale of ICU',
    options: `ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LOCALE 'C.UTF-8'`,
    sql: `CREATE TABLE s.t (a text PRIMARY KEY); INSERT INTO s.t VALUES ('ä'), ('b'), ('a'); CREATE COLLATION s.c (provider = icu, locale = 'sv'); CREATE INDEX ON s.t (a COLLATE s.c)`,
  },
  {
    title: 'a locale of ICU with rules',
    from: 16,
    options: `ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < g' LOCALE 'C.UTF-8'`,
    sql: `CREATE TABLE s.t (a text PRIMARY KEY); INSERT INTO s.t VALUES ('ä'), ('b'), ('a')`,
  },
  {
    title: 'a builtin locale',
    from: 17,
    options: `ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C.UTF-8'`,
    sql: `CREATE TABLE s.t (a text PRIMARY KEY); INSERT INTO s.t VALUES ('ä'), ('b'), ('a')`,
  },
  {
    title: 'another tablespace',
    options: 'TABLESPACE :space',
    sql: `CREATE TABLE s.t (a int) TABLESPACE pg_default; CREATE INDEX ON s.t (a) TABLESPACE pg_default; CREATE TABLE s.u (a int PRIMARY KEY USING INDEX TABLESPACE pg_default); CREATE TABLE s.p (a int) PARTITION BY LIST (a) TABLESPACE pg_default; CREATE TABLE s.p1 PARTITION OF s.p DEFAULT; INSERT INTO s.t VALUES (1); INSERT INTO s.p VALUES (1)`,
  },
  {
    title: 'kinds of objects that only a superuser creates',
    sql: `CREATE FUNCTION s.add(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2'; CREATE AGGREGATE s.tot (numeric) (SFUNC = s.add, STYPE = numeric, INITCOND = '0'); CREATE OPERATOR s.### (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = s.add, COMMUTATOR = ###);
      CREATE TEXT SEARCH DICTIONARY s.d (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION s.c (COPY = simple); ALTER TEXT SEARCH CONFIGURATION s.c ALTER MAPPING FOR word WITH s.d; CREATE CONVERSION s.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
      CREATE FOREIGN DATA WRAPPER w; CREATE SERVER sv FOREIGN DATA WRAPPER w OPTIONS (a 'b'); CREATE USER MAPPING FOR PUBLIC SERVER sv; CREATE FOREIGN TABLE s.ft (a int) SERVER sv; CREATE PUBLICATION pa FOR ALL TABLES; CREATE TABLE s.t (a int PRIMARY KEY); CREATE PUBLICATION pt FOR TABLE s.t WHERE (a > 1); CREATE PUBLICATION ps FOR TABLES IN SCHEMA s;
      CREATE TYPE s.base; CREATE FUNCTION s.bin(cstring) RETURNS s.base LANGUAGE internal IMMUTABLE STRICT AS 'int4in'; CREATE FUNCTION s.bout(s.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out'; CREATE TYPE s.base (INPUT = s.bin, OUTPUT = s.bout, LIKE = int4); CREATE TABLE s.bt (b s.base); INSERT INTO s.bt VALUES ('5');
      CREATE OPERATOR FAMILY s.ofa USING btree; CREATE CAST (s.base AS int) WITHOUT FUNCTION; CREATE ACCESS METHOD am2 TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE s.amt (a int) USING am2; INSERT INTO s.amt VALUES (1)`,
  },
  {
    title: 'rights that owners and others have granted',
    sql: `CREATE ROLE :one; CREATE ROLE :two; GRANT ALL ON SCHEMA s TO :one WITH GRANT OPTION; GRANT USAGE ON SCHEMA s TO :two; CREATE TABLE s.t (a int, b int); GRANT SELECT (a), UPDATE (b) ON s.t TO :one WITH GRANT OPTION; GRANT SELECT ON s.t TO :two WITH GRANT OPTION; SET SESSION AUTHORIZATION :two; GRANT SELECT ON s.t TO PUBLIC; RESET SESSION AUTHORIZATION;
      ALTER DEFAULT PRIVILEGES FOR ROLE :two IN SCHEMA s GRANT SELECT ON TABLES TO :one; ALTER DEFAULT PRIVILEGES FOR ROLE :two REVOKE ALL ON FUNCTIONS FROM PUBLIC; CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION s.f() FROM PUBLIC; GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO :two;
      SELECT lo_from_bytea(4242, 'abc'); GRANT SELECT ON LARGE OBJECT 4242 TO :two; COMMENT ON LARGE OBJECT 4242 IS 'doc'; CREATE POLICY p ON s.t TO :two, :one USING (a > 0); ALTER TABLE s.t ENABLE ROW LEVEL SECURITY; REVOKE ALL ON s.t FROM CURRENT_USER`,
  },
];

/** Creates the database. @returns its URL */
export async function createHard(one: HardDatabase, server: string): Promise<string> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  const options = one.options?.replace(':space', await tablespaceOn(server)) ?? '';
  await sql(server, `CREATE DATABASE ${name} TEMPLATE template0 ${options}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  await sql(url.href, 'CREATE SCHEMA s');
  for (const setting of one.settings ?? []) await sql(server, `ALTER DATABASE ${name} ${setting}`);
  const role = `role_${randomBytes(6).toString('hex')}`;
  const made = one.sql.replaceAll(':one', `"${role} ""one"""`).replaceAll(':two', `${role}_two`);
  const making = new URL(url);
  making.searchParams.set(
    'options',
    '-c default_transaction_read_only=off -c statement_timeout=0 -c client_min_messages=warning',
  );
  await sql(making.href, made);
  return url.href;
}

const tablespaces = new Map<string, string>();

async function tablespaceOn(server: string): Promise<string> {
  const there = tablespaces.get(server);
  if (there !== undefined) return there;
  const name = `space_${randomBytes(4).toString('hex')}`;
  const folder = join(servers.folder, name);
  mkdirSync(folder, { mode: 0o700 });
  const [data] = await sql<{ folder: string }>(
    server,
    `SELECT setting AS folder FROM pg_settings WHERE name = 'data_directory'`,
  );
  const { uid, gid } = statSync(data?.folder ?? '');
  chownSync(folder, uid, gid);
  await sql(server, `CREATE TABLESPACE ${name} LOCATION '${folder}'`);
  tablespaces.set(server, name);
  return name;
}
