import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { postgresFailure } from './errors.js';
import { displayTable, quoteIdentifier, quoteLiteral, quoteTable } from './identifiers.js';
import type { Session } from './session.js';

export interface CopyTarget {
  schema: string;
  name: string;
  /** The columns of the CSV, in its order. */
  columns: string[];
}

/**
 * Loads CSV with a header line into a table. When the source fails, COPY fails with it: nothing of an
 * unfinished stream stays.
 * @param encoding the CSV's, as PostgreSQL names it
 * @returns the number of rows by COPY's command tag
 * @throws Failure of PostgreSQL, naming the table; or what the source failed with
 */
export async function copyIn(
  session: Session,
  target: CopyTarget,
  csv: Readable,
  encoding: string,
  signal: AbortSignal,
): Promise<number> {
  const columns = target.columns.length > 0 ? `(${target.columns.map(quoteIdentifier).join(', ')})` : '';
  const stream = session.client.query(
    copyFrom(
      `COPY ${quoteTable(target)} ${columns} FROM STDIN (FORMAT csv, HEADER true, ENCODING ${quoteLiteral(encoding)})`,
    ),
  );
  try {
    await pipeline(csv, stream, { signal });
    return stream.rowCount;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    throw postgresFailure(error, session.server, `loading ${displayTable(target)}`);
  }
}
