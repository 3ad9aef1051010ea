import type { ObjectStore } from '#storage';
import { runBackup } from '../support/heart.js';
import { newOwnedDatabase, openStore, servers, sql } from '../support/servers.js';

let store: ObjectStore;
const path = process.env['PATH'];
beforeAll(() => {
  store = openStore(servers.s3);
  process.env['PATH'] = '/nonexistent';
});
afterAll(() => {
  process.env['PATH'] = path;
  store.close();
});

test('the bundled pg_dump takes the names of other schemas, or says that they are too long', async () => {
  const { admin, url } = await newOwnedDatabase();
  const create = (count: number, word: string, grantee: string) =>
    sql(
      admin,
      `DO $$ BEGIN FOR i IN 1..${count} LOOP
         EXECUTE format('CREATE SCHEMA %1$I; GRANT USAGE ON SCHEMA %1$I TO ${grantee}', format('${word}', i));
       END LOOP; END $$`,
    );
  const beginning = `${'_'.repeat(50)} %s`;
  await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int)');
  await create(1_000, `${beginning} open`, 'PUBLIC');
  const { omissions } = await runBackup(store, url, ['s'], { definitions: 'required' });
  expect(omissions).toEqual([]);
  // One prefix stands for all schemas that only have it.
  await create(300, `closed ${'_'.repeat(40)} %s`, 'pg_monitor');
  await runBackup(store, url, ['s'], { definitions: 'required' });
  await create(1_000, `${beginning} shut`, 'pg_monitor');
  await expect(runBackup(store, url, ['s'], { definitions: 'required' })).rejects.toMatchObject({
    code: 'DEFINITIONS_FAILED',
    message: expect.stringMatching(/too long for the arguments of the bundled pg_dump/) as string,
  });
});
