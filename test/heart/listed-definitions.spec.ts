import pg from 'pg';
import type { ObjectStore } from '#storage';
import { scopeOf } from '#config';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore } from '../support/heart.js';
import { newDatabase, openStore, postgresMajors, servers, sql, oneOf, seed } from '../support/servers.js';
import { stateOf } from '../support/state.js';

let store: ObjectStore;
beforeAll(() => {
  store = openStore(servers.s3);
});
afterAll(() => store.close());

/** Objects of other schemas that those of `app` need, in every way in which PostgreSQL records that. */
const SHARED = `
  CREATE SCHEMA util; CREATE EXTENSION hstore SCHEMA util; CREATE EXTENSION ltree;
  CREATE TYPE util.mood AS ENUM ('glad'); CREATE TYPE util.pair AS (a util.mood, b int);
  CREATE DOMAIN util.positive AS int CHECK (VALUE > 0); COMMENT ON TYPE util.mood IS 'a mood';
  CREATE FUNCTION util.low(util.mood) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1::text)';
  CREATE CAST (util.mood AS varchar) WITH FUNCTION util.low(util.mood);
  CREATE FUNCTION util.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
  CREATE FUNCTION util.less(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < $2';
  CREATE OPERATOR util.<<< (FUNCTION = util.less, LEFTARG = int, RIGHTARG = int);
  CREATE FUNCTION util.compare(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
  CREATE OPERATOR CLASS util.ints FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 util.compare(int, int);
  CREATE FUNCTION util.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
  CREATE FUNCTION util.may(int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
  CREATE COLLATION util.plain (provider = libc, locale = 'C'); CREATE SEQUENCE util.numbers;
  CREATE TABLE util.country (code text PRIMARY KEY, id int GENERATED ALWAYS AS IDENTITY);
  ALTER TABLE util.country ENABLE ROW LEVEL SECURITY; GRANT USAGE ON SCHEMA util TO PUBLIC;
  CREATE TYPE util.raw; CREATE FUNCTION util.raw_in(cstring) RETURNS util.raw LANGUAGE internal IMMUTABLE STRICT AS 'textin';
  CREATE FUNCTION util.raw_out(util.raw) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
  CREATE TYPE util.raw (INPUT = util.raw_in, OUTPUT = util.raw_out, LIKE = text);
  CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
  CREATE FOREIGN DATA WRAPPER wrapper; CREATE SERVER "else where" FOREIGN DATA WRAPPER wrapper; CREATE USER MAPPING FOR PUBLIC SERVER "else where";
  CREATE SCHEMA secret; CREATE TABLE secret.nation (code text PRIMARY KEY);`;

const APP = `
  CREATE SCHEMA app;
  CREATE TABLE app.city (id int PRIMARY KEY DEFAULT nextval('util.numbers'), mood util.mood, pair util.pair[], size util.positive,
    country text REFERENCES util.country, nation text REFERENCES secret.nation, raw util.raw, more util.hstore, path ltree, name text COLLATE util.plain,
    twice int GENERATED ALWAYS AS (util.twice(id)) STORED, CHECK (id OPERATOR(util.<<<) 1000));
  CREATE INDEX ON app.city (id util.ints); CREATE INDEX ON app.city (util.twice(id));
  CREATE STATISTICS util.joint ON mood, size FROM app.city;
  CREATE TRIGGER touch BEFORE UPDATE ON app.city FOR EACH ROW EXECUTE FUNCTION util.touch();
  ALTER TABLE app.city ENABLE ROW LEVEL SECURITY; CREATE POLICY may ON app.city USING (util.may(id));
  CREATE TABLE app.other () USING heap2; CREATE FOREIGN TABLE app.far (a int) SERVER "else where";
  CREATE VIEW app.v AS SELECT util.low(mood) AS mood FROM app.city; COMMENT ON VIEW app.v IS 'v'; GRANT SELECT ON app.v TO PUBLIC;
  CREATE RULE r AS ON DELETE TO app.city DO ALSO UPDATE util.country SET code = code;
  ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;
  INSERT INTO app.city (mood, size, path) SELECT 'glad', n, 'a.b' FROM generate_series(1, 9) n;`;

/** Nothing of it has a part in `app`. */
const SECRET = `
  CREATE TYPE secret.code AS ENUM ('secret'); CREATE EXTENSION citext; CREATE ACCESS METHOD secret TYPE TABLE HANDLER heap_tableam_handler;
  CREATE FUNCTION secret.f() RETURNS text LANGUAGE sql AS $$ SELECT 'secret word' $$;
  CREATE FUNCTION util.unneeded() RETURNS text LANGUAGE sql AS $$ SELECT 'secret word' $$;
  CREATE TABLE util.unneeded_table (secret int) USING secret; CREATE TABLE util.plain_secret (a int);
  CREATE TABLE secret.t (city int REFERENCES app.city, code secret.code); CREATE VIEW secret.v AS SELECT * FROM app.city;
  CREATE FUNCTION secret.to_int(secret.code) RETURNS int LANGUAGE sql AS 'SELECT 1';
  CREATE CAST (secret.code AS int) WITH FUNCTION secret.to_int(secret.code);
  CREATE SERVER secret_server FOREIGN DATA WRAPPER wrapper OPTIONS (host 'secret');
  CREATE USER MAPPING FOR PUBLIC SERVER secret_server OPTIONS (password 'secret');
  CREATE FUNCTION secret.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER secret_ddl ON ddl_command_end WHEN TAG IN ('CREATE CAST') EXECUTE FUNCTION secret.on_ddl();
  CREATE PUBLICATION secret_one FOR TABLE app.city; CREATE PUBLICATION secret_two;
  ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA secret GRANT SELECT ON TABLES TO PUBLIC;`;

/** Comments between omitted statements are omitted too. */
function withoutComments(text: string): string {
  return text.replace(/^(--.*)?\n/gm, '');
}

// The other one runs with another seed, and both in `npm run test:long`.
describe.each(oneOf(postgresMajors, seed))('the definitions of a listed schema, on %s,', (_title, server) => {
  test('hold all that it needs, and nothing else', async () => {
    const [url, empty] = [await newDatabase(server), await newDatabase(server)];
    await sql(url, SHARED + APP + SECRET);
    // The definitions do not wait for tables that they do not hold.
    const holder = new pg.Client(url);
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE secret.t');
    const { key, omissions } = await runBackup(store, url, ['app'], { definitions: 'required' });
    await holder.end();
    expect(omissions).toEqual(
      expect.arrayContaining([
        'the event trigger secret_ddl',
        'the publications secret_one, secret_two',
        expect.stringMatching(/^the default rights of the role /),
      ]),
    );
    expect(omissions.join()).not.toContain('definition');

    const archive = await DownloadedArchive.of(store, key);
    expect(archive.manifest().leftOut).toContainEqual({
      kind: 'table',
      count: 1,
      what: 'secret.nation',
      why: 'app.city refers to secret.nation; its schema is not in REPOSITORY_SCHEMAS. schema.sql lacks the foreign key. To add it: ALTER TABLE "app"."city" ADD CONSTRAINT "city_nation_fkey" FOREIGN KEY (nation) REFERENCES secret.nation(code)',
    });
    const text = archive.read('schema.sql').toString();
    expect(text).toMatch(/-- PostgreSQL database dump complete\n/);
    expect(text).not.toMatch(/secret|citext|unneeded/);
    await sql(empty, text);
    // The state of app.city has the triggers of these keys.
    await sql(
      url,
      'DROP TABLE secret.t; ALTER TABLE app.city DROP CONSTRAINT city_country_fkey, DROP CONSTRAINT city_nation_fkey',
    );
    await runRestore(store, empty, ['app'], key);
    expect(await stateOf(empty, ['app'])).toEqual(await stateOf(url, ['app']));
    const again = await runBackup(store, empty, ['app'], { definitions: 'required' });
    const repeated = (await DownloadedArchive.of(store, again.key)).read('schema.sql').toString();
    expect(withoutComments(repeated)).toBe(withoutComments(text));
  });
});

test('the definitions of all schemas hold nothing that is excluded, but what others need', async () => {
  const [[, server] = []] = postgresMajors;
  const [url, empty] = [await newDatabase(server ?? ''), await newDatabase(server ?? '')];
  await sql(
    url,
    `${SHARED} ${APP} ${SECRET}
     CREATE VIEW app.of_country AS SELECT code FROM util.country; 
     CREATE SCHEMA conf; CREATE TABLE conf.parent (a int) PARTITION BY LIST (a); CREATE TABLE conf.child PARTITION OF conf.parent FOR VALUES IN (1);
     CREATE TABLE util.secret_child PARTITION OF conf.parent FOR VALUES IN (2); CREATE TABLE util.kept_nation AS SELECT FROM secret.nation`,
  );
  const scope = {
    ...scopeOf('*'),
    excludeSchemas: ['secret'],
    excludeTables: ['util.country', 'util.secret*', 'util.unneeded_table', 'util.plain_secret'],
  };
  const { key, omissions } = await runBackup(store, url, scope, { definitions: 'required' });
  expect(omissions).toEqual([
    'options of the user mapping of public for the server secret_server',
    'rows of app.far',
    'secret.nation',
    'util.country',
  ]);
  const text = (await DownloadedArchive.of(store, key)).read('schema.sql').toString();
  expect(text).toMatch(/CREATE EVENT TRIGGER secret_ddl[^]*EXECUTE FUNCTION secret.on_ddl/);
  expect(text).toMatch(/CREATE PUBLICATION secret_one/);
  expect(text).toMatch(/CREATE EXTENSION IF NOT EXISTS citext/);
  expect(text).toMatch(/CREATE SERVER secret_server/);
  expect(text).toMatch(/CREATE TABLE util.country[^]*CREATE VIEW app.of_country/);
  expect(text).not.toMatch(/secret\.(?!on_ddl)|secret_(view|child)|plain_secret|unneeded_table|FOREIGN KEY/);
  await sql(empty, text);

  // The archive holds the rows of all extensions' configuration.
  await sql(
    url,
    `CREATE EXTENSION lo SCHEMA secret; CREATE TABLE secret.conf (a int); ALTER EXTENSION lo ADD TABLE secret.conf;
     UPDATE pg_extension SET extconfig = ARRAY['secret.conf'::regclass], extcondition = '{""}' WHERE extname = 'lo'`,
  );
  for (const one of [scope, ['app']]) {
    const configured = await runBackup(store, url, one, { definitions: 'required' });
    expect((await DownloadedArchive.of(store, configured.key)).read('schema.sql').toString()).toMatch(
      /CREATE EXTENSION IF NOT EXISTS lo WITH SCHEMA secret/,
    );
  }
});
