import { randomBytes } from 'node:crypto';
import { Secret } from '#config';
import { readRecordOf } from '#engine';
import { expectHarmlessDrill, Session } from '#postgres';
import { heartKeys, MemoryJournal, runBackup, runVerify } from '../support/heart.js';
import { newDatabase, postgresMajors, servers, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();
const signal = new AbortController().signal;

/** A role of its own, and the URL with it. */
async function newRole(url: string, attributes: string): Promise<{ role: string; url: string }> {
  const role = `driller_${randomBytes(4).toString('hex')}`;
  await sql(url, `CREATE ROLE ${role} LOGIN PASSWORD 'pw' ${attributes}`);
  return { role, url: url.replace(/\/\/[^@]+@/, `//${role}:pw@`) };
}

test.each(postgresMajors)(
  'on %s, roles with rights beyond their own objects may not drill where the repository is',
  async (_title, server) => {
    const url = await newDatabase(server);
    const { role: group } = await newRole(url, 'IN ROLE pg_write_server_files');
    const { role: creator } = await newRole(url, 'CREATEROLE');
    const refusal = async (one: string) => {
      const session = await Session.open(one, { applicationName: 'test', signal });
      try {
        await expectHarmlessDrill(session);
        return undefined;
      } catch (error) {
        return (error as Error).message;
      } finally {
        await session.close();
      }
    };
    expect(await refusal(url)).toMatch(/which is a superuser on the server of the repository\.$/);
    for (const [attributes, rights] of [
      ['CREATEROLE', 'CREATEROLE'],
      ['REPLICATION', 'REPLICATION'],
      ['IN ROLE pg_read_server_files', 'pg_read_server_files'],
      ['IN ROLE pg_execute_server_program', 'pg_execute_server_program'],
      [`NOINHERIT IN ROLE ${group}`, 'pg_write_server_files'],
      [`NOINHERIT IN ROLE ${creator}`, creator],
    ] as const)
      expect(await refusal((await newRole(url, attributes)).url)).toContain(`which has ${rights} on`);
    expect(await refusal((await newRole(url, 'CREATEDB IN ROLE pg_read_all_data')).url)).toBeUndefined();
  },
);

describe('a drill on DRILL_URL', () => {
  const [, source = ''] = postgresMajors[0] ?? [];
  let url: string;
  let key: string;
  beforeAll(async () => {
    url = await newDatabase(source);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY); INSERT INTO s.a SELECT generate_series(1, 1000);
       CREATE TABLE s.b (a int REFERENCES s.a); INSERT INTO s.b VALUES (1); SELECT lo_from_bytea(0, 'large')`,
    );
    ({ key } = await runBackup(store, url, ['s'], { definitions: 'required' }));
  });
  /** The scratch database of a drill, if it is still there. */
  const left = ({ notes }: MemoryJournal) =>
    sql(servers.postgres, 'SELECT datname FROM pg_database WHERE datname = $1', [notes.database?.name]);
  const drill = (archive: string, drillAsSuperuser: boolean, journal = new MemoryJournal()) =>
    runVerify(store, 'postgres://nobody@127.0.0.1:1/nothing', ['s'], archive, {
      level: 'DRILL',
      drillServer: { url: new Secret(servers.postgres), parallelJobs: 2 },
      drillAsSuperuser,
      journal,
    });

  test('recovers, compares and drops, without the repository', async () => {
    const journal = new MemoryJournal();
    const { verification, warnings } = await drill(key, true, journal);
    expect(verification).toMatchObject({
      level: 'DRILL',
      proven: [expect.stringMatching(/^Every byte/), expect.stringMatching(/^A database was recovered/)],
    });
    expect(warnings).toEqual([]);
    expect(journal.messages.find((message) => message.startsWith('Recovering into a scratch'))).toMatch(
      /: [\d.]+ kB of rows and large objects, and their indexes$/,
    );
    expect(journal.notes.database).toBeDefined();
    expect(await left(journal)).toEqual([]);
  });

  test('names in its record what could not be kept', async () => {
    await sql(
      url,
      'SET session_replication_role = replica; INSERT INTO s.b VALUES (-1); RESET session_replication_role',
    );
    const broken = await runBackup(store, url, ['s'], { definitions: 'required' });
    await sql(url, 'DELETE FROM s.b WHERE a = -1');
    const journal = new MemoryJournal();
    const { verification } = await drill(broken.key, true, journal);
    expect(verification.notProven).toContainEqual(expect.stringMatching(/fk constraint s\.b.*NOT VALID/));
    expect(await left(journal)).toEqual([]);
  });

  test('is refused to a superuser on the server of the repository, before it creates anything', async () => {
    const here = await newDatabase();
    await sql(here, 'CREATE SCHEMA s; CREATE TABLE s.t ()');
    const ours = await runBackup(store, here, ['s'], { definitions: 'required' });
    const journal = new MemoryJournal();
    await expect(drill(ours.key, false, journal)).rejects.toMatchObject({
      code: 'DRILL_REFUSED',
      hint: expect.stringContaining('Set DRILL_URL') as string,
    });
    expect(journal.notes.database).toBeUndefined();
  });

  test('names the right that its role lacks, and says nothing against the archive', async () => {
    const { role, url: without } = await newRole(servers.postgres, '');
    const options = { level: 'DRILL', drillServer: { url: new Secret(without), parallelJobs: 2 } } as const;
    await expect(runVerify(store, without, ['s'], key, options)).rejects.toMatchObject({
      code: 'DATABASE_PERMISSION_DENIED',
      hint: expect.stringContaining(`ALTER ROLE "${role}" CREATEDB;`) as string,
    });
    const object = await store.find(key, signal);
    expect(object && (await readRecordOf(store, heartKeys, object, signal))).toMatchObject({
      restorable: true,
    });
  });

  test('needs schema definitions', async () => {
    const bare = await runBackup(store, url, ['s']);
    await expect(drill(bare.key, true)).rejects.toMatchObject({ code: 'DRILL_REFUSED' });
  });
});
