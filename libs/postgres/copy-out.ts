import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { to as copyTo } from 'pg-copy-streams';
import { postgresFailure } from './errors.js';
import { displayTable, quoteIdentifier, quoteLiteral, quoteTable } from './identifiers.js';
import type { Session } from './session.js';
import type { Table } from './tables.js';

export interface CopyOut {
  /** The CSV as the server sends it, in the server's encoding, with a header line. */
  csv: Readable;
  /** The number of rows by COPY's command tag; resolves after `csv` has ended, rejects when it failed. */
  rows: Promise<number>;
}

/**
 * Copies a table's own rows (not those of its children) as CSV. The session can do nothing else until `rows`
 * has settled. Generated columns are left out: the server computes them again.
 * https://www.postgresql.org/docs/current/sql-copy.html
 */
export function copyOut(session: Session, table: Table, serverEncoding: string): CopyOut {
  const columns = table.columns
    .filter(({ generated }) => !generated)
    .map(({ name }) => quoteIdentifier(name));
  const stream = session.client.query(
    copyTo(
      `COPY (SELECT ${columns.join(', ')} FROM ONLY ${quoteTable(table)}) TO STDOUT
       (FORMAT csv, HEADER true, ENCODING ${quoteLiteral(serverEncoding)})`,
      { highWaterMark: 1 << 18 },
    ),
  );
  return { csv: stream, rows: commandTag(session, table, stream) };
}

/** The stream ends at CopyDone; the server's verdict comes after it. An empty query waits for it in the queue. */
async function commandTag(
  session: Session,
  table: Table,
  stream: ReturnType<typeof copyTo>,
): Promise<number> {
  try {
    await once(stream, 'end');
    await session.client.query('');
    return stream.rowCount;
  } catch (error) {
    throw postgresFailure(error, session.server, `copying ${displayTable(table)}`);
  }
}
