import { newDatabase, sql } from './servers.js';

/** Creates a database with one table s.t whose archive takes several parts of a multipart upload. @returns its URL */
export async function largeTable(server?: string, rows = 120_000): Promise<string> {
  const url = await newDatabase(server);
  await sql(
    url,
    `CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, h bytea);
     INSERT INTO s.t SELECT i, sha512(i::text::bytea) FROM generate_series(1, ${rows}) i;
     ANALYZE s.t`,
  );
  return url;
}

/** A digest of the table. */
export async function contentsOf(url: string): Promise<unknown> {
  return sql(url, 'SELECT count(*)::int AS rows, sum(hashtextextended(t::text, 0))::text AS sum FROM s.t t');
}
