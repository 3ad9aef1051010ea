import { runBackup } from '../support/heart.js';
import { newDatabase, openStore, postgresMajors, servers, sql } from '../support/servers.js';

test('a row of over 1 GB is said to be the row, with its table', async () => {
  const url = await newDatabase(postgresMajors.at(-1)?.[1]);
  const wide = `convert_to(repeat('x', 200000000), 'SQL_ASCII')`;
  await sql(
    url,
    `CREATE SCHEMA s; CREATE TABLE s.small (a int); CREATE TABLE s.wide (a bytea, b bytea, c bytea);
     INSERT INTO s.wide SELECT ${wide}, ${wide}, ${wide}`,
  );
  const store = openStore(servers.s3);
  await expect(runBackup(store, url, ['s'])).rejects.toMatchObject({
    persistence: 'permanent',
    message: 'Row too large: copying s.wide, PostgreSQL found a row of over 1 GB as text (SQLSTATE 54000).',
  });
  store.close();
});
