import { postgresFailure } from '../connection/errors.js';
import { displayTable, quoteIdentifier, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { copyIn, type CopyTarget } from './copy-in.js';

/** The rows of a CSV of which a table takes some columns only. */
export interface SomeColumns extends CopyTarget {
  /** The columns of the CSV that go nowhere. */
  dropped: Set<string>;
  /** The name of the temporary table. */
  temporary: string;
}

/**
 * Loads CSV into a table without some of its columns. COPY takes every column of its CSV, so it loads a temporary table
 * that has them all, and INSERT takes the others from there. The temporary table lasts until the transaction ends.
 * @returns the number of rows by COPY's command tag
 * @throws Failure of PostgreSQL, naming the table; or the source's error
 */
export async function copySomeColumns(
  session: Session,
  { schema, name, columns, dropped, temporary }: SomeColumns,
  csv: AsyncIterable<Buffer>,
  encoding: string,
): Promise<number> {
  const table = { schema, name };
  const through: Relation = { schema: 'pg_temp', name: temporary };
  const list = columns.map((column) =>
    dropped.has(column) ? `NULL::text AS ${quoteIdentifier(column)}` : quoteIdentifier(column),
  );
  const kept = columns.filter((column) => !dropped.has(column)).map(quoteIdentifier);
  const run = (statement: string) =>
    session.client.query(statement).catch((error: unknown) => {
      throw postgresFailure(error, session.server, `loading ${displayTable(table)}`);
    });
  // WITH NO DATA plans nothing, so it runs no code of the table's owner.
  await run(
    `CREATE TEMPORARY TABLE ${quoteIdentifier(temporary)} ON COMMIT DROP AS SELECT ${list.join(', ')} FROM ${quoteTable(table)} WITH NO DATA`,
  );
  const rows = await copyIn(session, { ...through, columns, freeze: false, for: table }, csv, encoding);
  const into = kept.length > 0 ? `(${kept.join(', ')}) OVERRIDING SYSTEM VALUE` : '';
  await run(`INSERT INTO ${quoteTable(table)} ${into} SELECT ${kept.join(', ')} FROM ${quoteTable(through)}`);
  return rows;
}
