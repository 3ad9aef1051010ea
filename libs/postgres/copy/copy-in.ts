import type pg from 'pg';
import { postgresFailure } from '../connection/errors.js';
import {
  displayTable,
  quoteIdentifier,
  quoteLiteral,
  quoteTable,
  type Relation,
} from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

export interface CopyTarget extends Relation {
  /** The columns of the CSV, in its order. */
  columns: string[];
  /**
   * Whether rows count as frozen at once. That saves a later VACUUM and makes the checks of foreign keys much faster.
   * Only for tables that this transaction has created or truncated.
   */
  freeze: boolean;
  /** The table that messages name, if it is another. */
  for?: Relation;
}

/**
 * Loads CSV with a header line into a table. If the source fails, COPY fails with it and loads nothing.
 * @param encoding the CSV's, as PostgreSQL names it
 * @returns the number of rows by COPY's command tag
 * @throws Failure of PostgreSQL, naming the table; or the source's error
 */
export async function copyIn(
  session: Session,
  target: CopyTarget,
  csv: AsyncIterable<Buffer>,
  encoding: string,
): Promise<number> {
  const columns = target.columns.length > 0 ? `(${target.columns.map(quoteIdentifier).join(', ')})` : '';
  const query = new CopyInQuery(
    `COPY ${quoteTable(target)} ${columns} FROM STDIN (FORMAT csv, HEADER true, FREEZE ${target.freeze}, ENCODING ${quoteLiteral(encoding)})`,
  );
  session.client.query(query);
  try {
    for await (const bytes of csv) await query.send(bytes);
    return await query.finish();
  } catch (error) {
    const failure = await query.cancel();
    // The server also answers a cancelled COPY with an error; an error before that is the reason.
    if (failure === undefined) throw error;
    throw postgresFailure(failure, session.server, `loading ${displayTable(target.for ?? target)}`);
  }
}

/**
 * Bytes of data in a message. PostgreSQL reads a whole message before it parses it, and short ones stay in the
 * processor's caches: with 256 kB a load took a quarter longer.
 */
const MESSAGE_BYTES = 32 * 1024;
const HEADER_BYTES = 5;
/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
const COPY_DATA = 0x64; // d
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]); // c
const COPY_FAIL = Buffer.from([0x66, 0, 0, 0, 5, 0]); // f, with an empty reason

/** One COPY FROM STDIN, for pg to run. */
class CopyInQuery implements pg.Submittable {
  /** The error of the server or the connection. */
  private failure: unknown;
  private stream: pg.Connection['stream'] | undefined;
  private rows: number | undefined;
  /** Wakes the caller that waits for a change: data may be sent, or the COPY has ended or failed. */
  private wake: () => void = () => undefined;

  constructor(private readonly text: string) {}

  /** Sends data, and resolves when more may be sent. @throws the error of the server or the connection */
  async send(bytes: Buffer): Promise<void> {
    const stream = await this.until(() => this.stream);
    // Many small writes cost less than copying an entry into one buffer of messages.
    stream.cork();
    for (let from = 0; from < bytes.length; from += MESSAGE_BYTES) {
      const piece = bytes.subarray(from, from + MESSAGE_BYTES);
      stream.write(copyDataHeader(piece.length));
      stream.write(piece);
    }
    stream.uncork();
    if (!stream.writableNeedDrain) return;
    let drained = false;
    const onDrain = () => {
      drained = true;
      this.wake();
    };
    stream.once('drain', onDrain);
    await this.until(() => drained || undefined).finally(() => stream.removeListener('drain', onDrain));
  }

  /** Ends the COPY. @returns the number of rows. @throws the error of the server or the connection */
  async finish(): Promise<number> {
    (await this.until(() => this.stream)).write(COPY_DONE);
    return this.until(() => this.rows);
  }

  /** Makes the server discard all rows. @returns the error that the server or the connection had before, if any */
  async cancel(): Promise<unknown> {
    if (this.failure !== undefined) return this.failure;
    try {
      (await this.until(() => this.stream)).write(COPY_FAIL);
      await this.until(() => this.rows);
    } catch {
      // The server's answer to COPY_FAIL is an error.
    }
    return undefined;
  }

  /** Called by pg when this query is the next one. */
  submit(connection: pg.Connection): void {
    connection.query(this.text);
  }

  handleCopyInResponse(connection: pg.Connection): void {
    this.stream = connection.stream;
    this.wake();
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.rows = Number(/^COPY (\d+)$/.exec(text)?.[1] ?? 0);
  }

  handleReadyForQuery(): void {
    this.wake();
  }

  /** Also called when the connection breaks. */
  handleError(error: unknown): void {
    this.failure = error;
    this.wake();
  }

  private async until<Result>(look: () => Result | undefined): Promise<Result> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const result = look();
      if (result !== undefined) return result;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}

/** Returns the header of a CopyData message. @param length bytes of data */
function copyDataHeader(length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header[0] = COPY_DATA;
  header.writeUInt32BE(length + 4, 1);
  return header;
}
