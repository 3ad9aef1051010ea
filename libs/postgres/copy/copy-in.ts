import type { Socket } from 'node:net';
import type pg from 'pg';
import { postgresFailure } from '../connection/errors.js';
import { displayTable, quoteIdentifier, quoteLiteral, quoteTable } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

export interface CopyTarget {
  schema: string;
  name: string;
  /** The columns of the CSV, in its order. */
  columns: string[];
  /**
   * Whether the rows are as good as old ones from the start, which spares the server a later pass over them, and
   * makes the checks of foreign keys much faster. Only for tables that this transaction has made or truncated.
   */
  freeze: boolean;
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
    const failure = await query.giveUp();
    // The server ends a COPY that was given up with an error, too; what it said before that is the reason.
    if (failure === undefined) throw error;
    throw postgresFailure(failure, session.server, `loading ${displayTable(target)}`);
  }
}

/**
 * PostgreSQL takes a message as a whole before it looks at it. Short ones stay in the processor's caches; with
 * 256 kB a load took a quarter longer.
 */
const MESSAGE_BYTES = 32 * 1024;
const HEADER_BYTES = 5;
/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
const COPY_DATA = 0x64; // d
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4]); // c
const COPY_FAIL = Buffer.from([0x66, 0, 0, 0, 5, 0]); // f, with an empty reason

/** What pg does not show of a connection in its types. */
interface Connection {
  stream: Socket;
  query(text: string): void;
}

/** One COPY FROM STDIN, for pg to run. */
class CopyInQuery implements pg.Submittable {
  /** What the server or the connection failed with. */
  private failure: unknown;
  private stream: Socket | undefined;
  private rows: number | undefined;
  /** Wakes the caller that waits for the next thing to happen: data may be sent, it has ended, or it has failed. */
  private wake: () => void = () => undefined;

  constructor(private readonly text: string) {}

  /** Sends data, and resolves when there is room for more. @throws what the server or the connection failed with */
  async send(bytes: Buffer): Promise<void> {
    const stream = await this.until(() => this.stream);
    // Written in pieces rather than copied into messages: a buffer
    // as long as an entry costs more to make and to collect than these writes.
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

  /** @returns the number of rows. @throws what the server or the connection failed with */
  async finish(): Promise<number> {
    (await this.until(() => this.stream)).write(COPY_DONE);
    return this.until(() => this.rows);
  }

  /** Has the server forget it all. @returns what the server or the connection had failed with before, if anything */
  async giveUp(): Promise<unknown> {
    if (this.failure !== undefined) return this.failure;
    try {
      (await this.until(() => this.stream)).write(COPY_FAIL);
      await this.until(() => this.rows);
    } catch {
      // That is its answer.
    }
    return undefined;
  }

  /** Called by pg when it is this query's turn. */
  submit(connection: pg.Connection): void {
    (connection as unknown as Connection).query(this.text);
  }

  handleCopyInResponse(connection: pg.Connection): void {
    this.stream = (connection as unknown as Connection).stream;
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

  private async until<Result>(what: () => Result | undefined): Promise<Result> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const result = what();
      if (result !== undefined) return result;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}

/** What goes before so many bytes of data in a CopyData message. */
function copyDataHeader(length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header[0] = COPY_DATA;
  header.writeUInt32BE(length + 4, 1);
  return header;
}
