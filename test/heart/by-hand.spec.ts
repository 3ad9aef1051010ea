import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DownloadedArchive } from '../support/archive.js';
import { addExtension } from '../support/database-case.js';
import { runBackup } from '../support/heart.js';
import { newDatabase, servers, sql, storeOfTests } from '../support/servers.js';
import { pgDump, stateOf } from '../support/state.js';

const FORMAT = readFileSync(join(__dirname, '../../docs/archive-format.md'), 'utf8');

/** The first block of code in a section of archive-format.md. */
function block(section: string, language: string): string {
  const text = FORMAT.slice(FORMAT.indexOf(`\n## ${section}\n`));
  const [, code] = new RegExp(`^( *)\`\`\`${language}\n([^]*?)^\\1\`\`\``, 'm').exec(text)?.slice(1) ?? [];
  if (code === undefined) throw new Error(`no ${language} in ${section}`);
  return code.replace(/^ {2}/gm, '');
}

/** All large objects: owner, rights, comment and content. */
function largeObjectsOf(url: string): Promise<object[]> {
  return sql(
    url,
    `SELECT oid, pg_get_userbyid(lomowner) AS owner, coalesce(lomacl, acldefault('L', lomowner))::text AS rights,
            obj_description(oid, 'pg_largeobject') AS comment, md5(lo_get(oid)) AS content
       FROM pg_largeobject_metadata ORDER BY oid`,
  );
}

const onDebians = servers.debianPostgres ? describe : describe.skip;
const SECTION = 'Restoring by hand with unzip and psql';

const store = storeOfTests();
const server = servers.debianPostgres?.url ?? '';

onDebians('with unzip and psql alone, word for word as archive-format.md has it,', () => {
  /** Runs the commands of the page with the archive and the target of this test. */
  function follow(commands: string, archive: string, target: string): void {
    const folder = mkdtempSync(join(servers.folder, 'by-hand-'));
    writeFileSync(join(folder, 'plan.sql'), block(SECTION, 'sql'));
    const mine = commands
      .replace(/^export ARCHIVE=\S+/gm, `export ARCHIVE=${archive}`)
      .replace(/^TARGET=.*$/gm, `TARGET=${target}`)
      .replace(/^SERVER=.*$/m, `SERVER=${server}`)
      .replace(/^less .*$/m, '');
    execFileSync('bash', ['-euo', 'pipefail', '-c', mine], {
      cwd: folder,
      env: { PATH: `${servers.debianPostgres?.binaries}:${process.env['PATH']}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  test('a lost database is rebuilt with its rows', async () => {
    const url = await newDatabase(server);
    await addExtension(server);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.p (id serial PRIMARY KEY, "Größe, ""x""" text); CREATE TABLE s.c (p int REFERENCES s.p, e int GENERATED ALWAYS AS (p * 2) STORED);
       CREATE FUNCTION s.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
       INSERT INTO s.p ("Größe, ""x""") SELECT E'line\\n' || i FROM generate_series(1, 50) i; INSERT INTO s.c SELECT id FROM s.p;
       CREATE TRIGGER x BEFORE INSERT ON s.c FOR EACH ROW EXECUTE FUNCTION s.f(); CREATE EXTENSION fidcfg SCHEMA s; INSERT INTO s.settings VALUES ('mine', 'x'); SELECT setval('s.settings_seq', 5);
       CREATE TABLE s.refers (k text REFERENCES s.settings); INSERT INTO s.refers VALUES ('mine'); CREATE TABLE s."ö %" (a text); INSERT INTO s."ö %" VALUES (NULL), ('');
       SELECT lo_from_bytea(101, decode(repeat('00ff0a5c', 200000), 'hex')), lo_from_bytea(102, 'short'), lo_create(103);
       CREATE ROLE "by ""hand"""; ALTER LARGE OBJECT 102 OWNER TO "by ""hand"""; GRANT UPDATE ON LARGE OBJECT 102 TO PUBLIC;
       COMMENT ON LARGE OBJECT 101 IS E'größe, ''"quoted"''\\nnext'; REVOKE ALL ON LARGE OBJECT 103 FROM CURRENT_USER`,
    );
    const before = await stateOf(url, ['s']);
    const objects = await largeObjectsOf(url);
    const name = new URL(url).pathname.slice(1);
    await sql(
      url,
      `ALTER DATABASE ${name} SET default_transaction_read_only = on;
       ALTER DATABASE ${name} CONNECTION LIMIT 7; COMMENT ON DATABASE ${name} IS 'mine'; REVOKE TEMPORARY ON DATABASE ${name} FROM PUBLIC`,
    );
    const dump = await pgDump(url);
    process.env['PATH'] = `${servers.debianPostgres?.binaries}:${process.env['PATH']}`;
    const { key } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    const { file } = await DownloadedArchive.of(store, key);

    await sql(server, `DROP DATABASE ${name}`);
    const commands = block('On an empty server', 'sh') + block(SECTION, 'sh');
    follow(commands, file, url);
    expect(await stateOf(url, ['s'])).toEqual(before);
    expect(await pgDump(url)).toBe(dump);
    expect(await largeObjectsOf(url)).toEqual(objects);
    expect(new Set(commands.split('\n').filter(Boolean)).size).toBeLessThanOrEqual(10);

    await sql(server, `ALTER DATABASE ${name} RESET ALL`);
    await sql(
      url,
      "TRUNCATE s.refers; UPDATE s.settings SET v = 'y' WHERE k = 'mine'; INSERT INTO s.settings VALUES ('more'); SELECT setval('s.settings_seq', 9)",
    );
    await sql(url, "TRUNCATE s.p, s.c; UPDATE s.\"ö %\" SET a = 'x'; SELECT setval('s.p_id_seq', 999)");
    await sql(url, "SELECT lo_unlink(101), lo_put(102, 3, 'longer than before'), lo_put(103, 0, 'x')");
    follow(block(SECTION, 'sh'), file, url);
    expect(await stateOf(url, ['s'])).toEqual(before);
    expect(await largeObjectsOf(url)).toEqual(objects);
  });
});
