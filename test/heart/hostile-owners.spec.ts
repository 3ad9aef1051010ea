import { randomBytes } from 'node:crypto';
import type { ObjectStore } from '#storage';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup } from '../support/heart.js';
import { newDatabase, openStore, postgresMajors, servers, sql } from '../support/servers.js';

let store: ObjectStore;
beforeAll(() => {
  store = openStore(servers.s3);
});
afterAll(() => store.close());

test.each(postgresMajors)(
  "an owner's name that looks like pg_dump's comments, on %s",
  async (_title, server) => {
    const url = await newDatabase(server);
    const owner = `"${randomBytes(4).toString('hex')}; Type: TABLE; Schema: a; Owner: y"`;
    await sql(
      url,
      `CREATE ROLE ${owner}; CREATE SCHEMA a; CREATE SCHEMA "s; Type: TABLE" AUTHORIZATION ${owner};
     SET ROLE ${owner}; SET search_path = "s; Type: TABLE"; CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b int DEFAULT 1);
     CREATE INDEX i ON t (b); CREATE VIEW v AS SELECT id FROM t; CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
     GRANT SELECT ON t TO PUBLIC; COMMENT ON INDEX i IS 'x'; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE TYPE e AS ENUM ('a')`,
    );
    try {
      const { key } = await runBackup(store, url, '*', { definitions: 'required' });
      const { statements = [] } = (await DownloadedArchive.of(store, key)).manifest().definitions ?? {};
      const objects = statements
        .filter(({ schema }) => schema !== null)
        .map(({ kind, schema, name }) => `${kind} ${schema}.${name}`);
      expect([...new Set(objects)].sort()).toEqual([
        'ACL s; Type: TABLE.TABLE t',
        'COMMENT s; Type: TABLE.INDEX i',
        'CONSTRAINT s; Type: TABLE.t t_pkey',
        'FUNCTION s; Type: TABLE.f(integer)',
        'INDEX s; Type: TABLE.i',
        'ROW SECURITY s; Type: TABLE.t',
        'SEQUENCE s; Type: TABLE.t_id_seq',
        'TABLE s; Type: TABLE.t',
        'TYPE s; Type: TABLE.e',
        'VIEW s; Type: TABLE.v',
      ]);
    } finally {
      await sql(url, `DROP OWNED BY ${owner} CASCADE; DROP ROLE ${owner}`);
    }
  },
);
