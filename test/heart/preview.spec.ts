import type { RestorePreview } from '#contracts';
import { restorePreview } from '#contracts/schemas';
import { MemoryJournal, runBackup, runPreview, runRestore } from '../support/heart.js';
import {
  newDatabase,
  newOwnedDatabase,
  oneOf,
  postgresMajors,
  sql,
  storeOfTests,
} from '../support/servers.js';

const store = storeOfTests();

function codes({ refusals }: RestorePreview): string[] {
  return refusals.map(({ code }) => code).sort();
}

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  test('a preview names the target, the rows in the archive and now, and what is suspended, as the restore does', async () => {
    const url = await newDatabase(server);
    const { port, pathname } = new URL(url);
    const database = pathname.slice(1);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY, gone text); CREATE TABLE s.b (a int REFERENCES s.a);
       INSERT INTO s.a SELECT i, 'secret' FROM generate_series(1, 1500) i; INSERT INTO s.b SELECT 1 FROM generate_series(1, 35)`,
    );
    const { key } = await runBackup(store, url, ['s']);
    await sql(
      url,
      `TRUNCATE s.b; DELETE FROM s.a WHERE id > 500; ALTER TABLE s.a DROP gone; ALTER TABLE s.a ADD fresh int DEFAULT 0`,
    );
    await sql(url, 'VACUUM ANALYZE s.a');
    const differing = await runPreview(store, url, ['s'], key);
    expect(codes(differing)).toEqual(['ARCHIVE_DOES_NOT_FIT']);
    const options = { allowExtraColumns: true, dropColumns: ['s.a.gone'] };
    const preview = restorePreview.parse(await runPreview(store, url, ['s'], key, options));
    const host = new URL(url).hostname;
    const summary = `Replaces 2 tables, 1,535 rows, in ${database} at ${host}:${port}`;
    expect(preview).toMatchObject({
      summary,
      target: { database, host, port, systemIdentifier: expect.stringMatching(/^\d+$/) as string },
      rows: { archive: 1_535, estimatedNow: 500 },
      tables: {
        total: 2,
        listed: [
          { schema: 's', name: 'a', into: 's.a', archive: 1_500, estimatedNow: 500 },
          { schema: 's', name: 'b', into: 's.b', archive: 35, estimatedNow: 0 },
        ],
      },
      suspended: { listed: expect.arrayContaining(['the foreign key b_a_fkey of s.b']) as string[] },
      columns: { total: 1, listed: [{ table: 's.a', added: ['fresh'], dropped: ['gone'] }] },
      omissions: [{ kind: 'definitions' }],
      estimatedSeconds: 1,
      refusals: [],
    });
    expect(JSON.stringify(preview)).not.toContain('secret');
    expect(await sql(url, 'SELECT count(*)::int FROM s.a')).toEqual([{ count: 500 }]);
    const journal = new MemoryJournal();
    await runRestore(store, url, ['s'], key, { ...options, journal });
    const first = journal.messages.findIndex((message) => message.startsWith('Replaces'));
    expect(journal.messages.slice(0, first)).toEqual([`Opening the archive ${key}`]);
    expect(journal.messages[first]).toBe(summary);
  });

  test('a preview names every reason for a refusal that it can find', async () => {
    const { admin, url, role, database } = await newOwnedDatabase(server);
    await sql(
      admin,
      `CREATE SCHEMA s; CREATE TABLE s.a (id int); CREATE TABLE s.b (id int); INSERT INTO s.a VALUES (1);
       GRANT pg_read_all_data TO ${role}; GRANT EXECUTE ON FUNCTION pg_control_system() TO ${role};
       CREATE FUNCTION s.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e_${role} ON ddl_command_end EXECUTE FUNCTION s.f()`,
    );
    const { key } = await runBackup(store, admin, ['s'], { definitions: 'required' });
    await sql(admin, 'ALTER TABLE s.b ADD more int');
    const other = new URL(await newDatabase(server));
    await sql(other.href, `CREATE SCHEMA s; CREATE TABLE s.a (id int)`);
    expect(codes(await runPreview(store, other.href, ['s'], key, { otherDatabase: false }))).toEqual([
      'ARCHIVE_DOES_NOT_FIT',
      'OTHER_DATABASE',
    ]);
    expect(codes(await runPreview(store, url, ['s'], key))).toEqual([
      'ARCHIVE_DOES_NOT_FIT',
      'EVENT_TRIGGER',
      'OWNERSHIP_MISSING',
    ]);
    const into = await runPreview(store, url, ['s'], key, { intoDatabase: database, swap: true });
    expect(codes(into)).toEqual([
      'DATABASE_PERMISSION_DENIED',
      'DATABASE_PERMISSION_DENIED',
      'TARGET_REFUSED',
    ]);
    expect(into.summary).toMatch(
      `Recovers 2 tables, 1 row, into the new database ${database} at ${other.hostname}:${other.port}, which takes the place of ${database}`,
    );
    const fresh = await runPreview(store, admin, ['s'], key, { intoDatabase: `new_${database}` });
    expect(fresh).toMatchObject({ refusals: [], rows: { archive: 1, estimatedNow: null } });
    const gone = await runPreview(store, url, ['s'], 'no.zip');
    expect(gone).toMatchObject({
      refusals: [{ code: 'STORE_OBJECT_MISSING' }],
      target: { database },
      takenOn: null,
    });
    const away = await runPreview(store, 'postgres://127.0.0.1:1/shop', ['s'], key);
    expect(away).toMatchObject({
      summary: 'Replaces 2 tables, 1 row, in shop at 127.0.0.1:1',
      refusals: [{ code: 'DATABASE_UNREACHABLE' }],
      target: null,
    });
  });
});
