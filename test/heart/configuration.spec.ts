import { addExtension } from '../support/database-case.js';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import {
  newDatabase,
  newOwnedDatabase,
  postgresMajors,
  sql,
  storeOfTests,
  oneOf,
  seed,
} from '../support/servers.js';

const store = storeOfTests();

/** The extension of test/cases with rows of users, in a separate schema. */
const EXTENSION = `CREATE SCHEMA ext; CREATE EXTENSION fidcfg SCHEMA ext;
  INSERT INTO ext.settings VALUES ('mine', 'x'); SELECT setval('ext.settings_seq', 5)`;
const SETTINGS = `SELECT string_agg(k || v, ' ' ORDER BY k) || ' ' || (SELECT last_value FROM ext.settings_seq) AS rows FROM ext.settings`;
const SPOIL = `UPDATE ext.settings SET v = 'spoiled'; INSERT INTO ext.settings VALUES ('more', ''); SELECT setval('ext.settings_seq', 9)`;

const settingsOf = async (url: string) => (await sql<{ rows: string }>(url, SETTINGS))[0]?.rows;

// The other one runs with another seed, and both in `npm run test:long`.
describe.each(oneOf(postgresMajors, seed))('configuration of extensions on %s', (_title, server) => {
  beforeAll(() => addExtension(server));

  describe('and an ordinary role as the worker', () => {
    let admin: string;
    let url: string;
    let role: string;
    const backUp = async () => {
      const { key, omissions } = await runBackup(store, url, ['app']);
      return { key, omissions, manifest: (await DownloadedArchive.of(store, key)).manifest() };
    };

    beforeAll(async () => {
      ({ admin, url, role } = await newOwnedDatabase(server));
      await sql(url, 'CREATE SCHEMA app; CREATE TABLE app.t (k text); INSERT INTO app.t VALUES (1)');
      await sql(admin, EXTENSION);
    });

    test('that may not read it, the archive names it as omitted, and a restore leaves it alone', async () => {
      const { key, manifest } = await backUp();
      expect(manifest.leftOut).toEqual(
        expect.arrayContaining([
          expect.objectContaining({
            what: 'rows of ext.settings',
            why: expect.stringMatching(
              /^configuration of the extension fidcfg, and the role \w+ may not read it\. Run: GRANT .*;$/,
            ),
          }),
          expect.objectContaining({ what: 'the state of the sequence ext.settings_seq' }),
        ]),
      );
      expect(manifest.configuration).toEqual({ tables: [], sequences: [] });
      await runRestore(store, url, ['app'], key);
      expect(await settingsOf(admin)).toBe('minex shippedx 5');
    });

    test('that may read it, a restore needs further rights only if it was changed', async () => {
      await sql(
        admin,
        `GRANT USAGE ON SCHEMA ext TO ${role}; GRANT SELECT ON ext.settings, ext.settings_seq TO ${role}`,
      );
      const { key, omissions, manifest } = await backUp();
      expect(omissions.filter((what) => what.includes('settings'))).toEqual([]);
      expect(manifest.configuration).toMatchObject({
        tables: [
          {
            extension: 'fidcfg',
            schema: 'ext',
            name: 'settings',
            condition: "WHERE k <> 'shipped'",
            rows: 1,
          },
        ],
        sequences: [
          { extension: 'fidcfg', schema: 'ext', name: 'settings_seq', lastValue: '5', isCalled: true },
        ],
      });
      await runVerify(store, url, ['app'], key);
      await runRestore(store, url, ['app'], key);

      await sql(admin, SPOIL);
      const refused = {
        code: 'DATABASE_PERMISSION_DENIED',
        hint: expect.stringContaining(`GRANT SELECT, INSERT, DELETE ON "ext"."settings" TO "${role}";`),
      };
      await expect(runVerify(store, url, ['app'], key)).rejects.toMatchObject(refused);
      await expect(runRestore(store, url, ['app'], key)).rejects.toMatchObject(refused);
      await runRestore(store, url, ['app'], key, { tables: ['app.t'] });

      await sql(admin, `GRANT INSERT, DELETE ON ext.settings TO ${role}`);
      const owner = {
        code: 'OWNERSHIP_MISSING',
        hint: expect.stringContaining('ALTER SEQUENCE "ext"."settings_seq" OWNER'),
      };
      await expect(runRestore(store, url, ['app'], key)).rejects.toMatchObject(owner);
      await sql(admin, `ALTER SEQUENCE ext.settings_seq OWNER TO ${role}`);
      await runVerify(store, url, ['app'], key);
      expect(await settingsOf(admin)).toBe('minespoiled more shippedspoiled 9');
      await runRestore(store, url, ['app'], key);
      expect(await settingsOf(admin)).toBe('minex shippedspoiled 5');
    });

    test('that may not read it, a restore of an archive with no rows needs no right if the table is empty', async () => {
      await sql(
        admin,
        `SET allow_system_table_mods = on; CREATE TABLE ext.unused (k text); ALTER EXTENSION fidcfg ADD TABLE ext.unused; GRANT SELECT ON ext.unused TO ${role};
         UPDATE pg_extension SET extconfig = extconfig || 'ext.unused'::regclass::oid, extcondition = extcondition || '{""}' WHERE extname = 'fidcfg'`,
      );
      const { key } = await backUp();
      await sql(admin, `REVOKE ALL ON ext.unused FROM ${role}`);
      await runRestore(store, url, ['app'], key);
    });

    test('whose query could run code of the owner, the archive names it as omitted', async () => {
      const other = `${role}_other`;
      await sql(
        admin,
        `CREATE ROLE ${other}; GRANT SELECT ON ext.settings TO ${role}; ALTER TABLE ext.settings OWNER TO ${other}`,
      );
      const { manifest } = await backUp();
      expect(manifest.leftOut).toContainEqual(
        expect.objectContaining({
          what: 'rows of ext.settings',
          why: expect.stringContaining(`code of ${other} with the rights of ${role}`),
        }),
      );
    });
  });

  test('comes back with its keys and triggers, and other versions are refused', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `${EXTENSION}; CREATE SCHEMA app; CREATE TABLE app.t (k text REFERENCES ext.settings);
       CREATE TABLE ext.child (k text REFERENCES ext.settings, of text); ALTER EXTENSION fidcfg ADD TABLE ext.child;
       SET allow_system_table_mods = on;
       UPDATE pg_extension SET extconfig = 'ext.child'::regclass::oid || extconfig, extcondition = '{""}' || extcondition WHERE extname = 'fidcfg';
       INSERT INTO ext.child VALUES ('mine', 'child'); INSERT INTO app.t VALUES ('mine');
       CREATE FUNCTION app.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
       CREATE TRIGGER x BEFORE INSERT OR DELETE ON ext.child FOR EACH ROW EXECUTE FUNCTION app.refuse();
       ALTER TABLE ext.child ENABLE ALWAYS TRIGGER x;
       CREATE MATERIALIZED VIEW app.m AS SELECT count(*) FROM ext.settings`,
    );
    const { key } = await runBackup(store, url, ['app']);
    const state = `SELECT ARRAY[(${SETTINGS}), (SELECT string_agg(k || of, ' ') FROM ext.child), (SELECT count::text FROM app.m), (SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'x'),
      (SELECT count(*)::text FROM pg_constraint WHERE confrelid = 'ext.settings'::regclass AND convalidated)] AS state`;
    const before = await sql(url, state);
    await sql(
      url,
      `ALTER TABLE ext.child DISABLE TRIGGER x; DELETE FROM app.t; DELETE FROM ext.child; DELETE FROM ext.settings WHERE k = 'mine'; REFRESH MATERIALIZED VIEW app.m;
       ALTER TABLE ext.child ENABLE ALWAYS TRIGGER x; SELECT setval('ext.settings_seq', 9)`,
    );
    const spoiled = await sql(url, state);
    await runVerify(store, url, ['app'], key);
    expect(await sql(url, state)).toEqual(spoiled);
    await runRestore(store, url, ['app'], key);
    expect(await sql(url, state)).toEqual(before);

    // An archive's condition is never run: the one of the database counts, and must be equal.
    await sql(
      url,
      `SET allow_system_table_mods = on; UPDATE pg_extension SET extcondition = array_replace(extcondition, $$WHERE k <> 'shipped'$$, 'WHERE true') WHERE extname = 'fidcfg'`,
    );
    const changed = {
      code: 'ARCHIVE_DOES_NOT_FIT',
      message: expect.stringContaining('the condition of ext.settings is "WHERE true" here'),
    };
    await expect(runVerify(store, url, ['app'], key)).rejects.toMatchObject(changed);
    await sql(url, 'ALTER TABLE app.t DROP CONSTRAINT t_k_fkey; DROP EXTENSION fidcfg CASCADE');
    await expect(runRestore(store, url, ['app'], key)).rejects.toMatchObject({
      code: 'ARCHIVE_DOES_NOT_FIT',
      message: expect.stringContaining('ext.settings of the extension fidcfg is missing here'),
    });
  });
});
