import type { Socket } from 'node:net';
import type pg from 'pg';
import { postgresFailure } from './errors.js';
import { displayTable, quoteIdentifier, quoteLiteral, quoteTable } from './identifiers.js';
import { OneBufferSocket } from './one-buffer-socket.js';
import type { Session } from './session.js';
import type { Chunk } from './table-chunks.js';

/** Takes bytes of a COPY, which are gone when it returns or its promise resolves. While that is pending, none come. */
export type CopySink = (bytes: Buffer) => Promise<void> | undefined;

/**
 * Copies a chunk of a table's own rows (not those of its children) as CSV with a header line, in the server's
 * encoding. Generated columns are left out: the server computes them again.
 * https://www.postgresql.org/docs/current/sql-copy.html
 * @returns the number of rows by COPY's command tag
 * @throws Failure of PostgreSQL, naming the table; or what the sink failed with, after which the session is
 * unusable
 */
export async function copyOut(
  session: Session,
  chunk: Chunk,
  serverEncoding: string,
  sink: CopySink,
): Promise<number> {
  // A query with blocks locks the table's indexes; rolling back to here lets go of them.
  if (chunk.blocks !== undefined) await session.query('SAVEPOINT chunk');
  const query = new CopyOutQuery(
    `COPY ${source(chunk)} TO STDOUT (FORMAT csv, HEADER true, ENCODING ${quoteLiteral(serverEncoding)})`,
    sink,
  );
  session.client.query(query);
  try {
    const rows = await query.rows;
    if (chunk.blocks !== undefined)
      await session.query('ROLLBACK TO SAVEPOINT chunk; RELEASE SAVEPOINT chunk');
    return rows;
  } catch (error) {
    if (!query.sinkFailed)
      throw postgresFailure(error, session.server, `copying ${displayTable(chunk.table)}`);
    session.destroy();
    throw error;
  }
}

/** COPY of a table is faster than of a query and locks no indexes, but knows neither blocks nor no columns at all. */
function source({ table, blocks }: Chunk): string {
  const name = quoteTable(table);
  const columns = table.columns
    .filter(({ generated }) => !generated)
    .map((column) => quoteIdentifier(column.name))
    .join(', ');
  if (blocks === undefined) return columns === '' ? `(SELECT FROM ONLY ${name})` : `${name} (${columns})`;
  const end = blocks.end === undefined ? '' : ` AND ctid < '(${blocks.end},0)'`;
  return `(SELECT ${columns} FROM ONLY ${name} WHERE ctid >= '(${blocks.first},0)'${end})`;
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
const COPY_DATA = 0x64; // d
const COPY_DONE = 0x63; // c
/** CopyOutResponse, NoticeResponse, ParameterStatus, NotificationResponse: nothing for a sink in them. */
const PASSED_OVER = new Set([...'HNSA'].map((letter) => letter.charCodeAt(0)));
const HEADER_BYTES = 5;

/** What pg does not show of a connection in its types. */
interface Connection {
  stream: Socket;
  query(text: string): void;
}

/**
 * Takes the connection's bytes over while COPY sends. The server puts every row into a message of its own: their
 * headers are cut out in place, so that a row costs one move of its bytes and nothing else.
 */
class CopyOutQuery implements pg.Submittable {
  readonly rows: Promise<number>;
  sinkFailed = false;
  private resolve: (rows: number) => void = () => undefined;
  private reject: (error: unknown) => void = () => undefined;
  private stream: Socket | undefined;
  private handlerOfPg: ((bytes: Buffer) => void) | undefined;
  /** The beginning of a message whose header has not all arrived. */
  private rest: Buffer | undefined;
  /** Bytes of the present message that are still to come. */
  private left = 0;
  private isData = false;
  private rowCount = 0;
  /** Settles when the sink has taken all that it was given. */
  private taken: Promise<void> = Promise.resolve();

  constructor(
    private readonly text: string,
    private readonly sink: CopySink,
  ) {
    this.rows = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.rows.catch(() => undefined); // Whoever copies hears of it.
  }

  /** Called by pg when it is this query's turn. */
  submit(connection: pg.Connection): void {
    const raw = connection as unknown as Connection;
    const { stream } = raw;
    const [handler] = stream.listeners('data') as ((bytes: Buffer) => void)[];
    if (handler === undefined) throw new Error('pg does not listen to its connection');
    this.stream = stream;
    this.handlerOfPg = handler;
    stream.removeListener('data', handler);
    stream.on('data', this.onData);
    if (stream instanceof OneBufferSocket) stream.lendsBytes = true;
    raw.query(this.text);
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.rowCount = Number(/^COPY (\d+)$/.exec(text)?.[1] ?? 0);
  }

  handleReadyForQuery(): void {
    this.handBack(Buffer.alloc(0));
    // The end may have come with the last bytes, which the sink is still busy with.
    this.taken.then(
      () => this.resolve(this.rowCount),
      () => undefined, // Told already.
    );
  }

  /** Also called when the connection breaks. */
  handleError(error: unknown): void {
    this.handBack(Buffer.alloc(0));
    this.reject(error);
  }

  private readonly onData = (received: Buffer): void => {
    const bytes = this.rest === undefined ? received : Buffer.concat([this.rest, received]);
    this.rest = undefined;
    let read = 0;
    let kept = 0;
    while (read < bytes.length) {
      if (this.left > 0) {
        const end = Math.min(read + this.left, bytes.length);
        if (this.isData) {
          bytes.copyWithin(kept, read, end);
          kept += end - read;
        }
        this.left -= end - read;
        read = end;
        continue;
      }
      if (bytes.length - read < HEADER_BYTES) {
        this.rest = Buffer.from(bytes.subarray(read));
        break;
      }
      const code = bytes[read] ?? 0;
      this.isData = code === COPY_DATA;
      // Its end, or an error: pg knows what to do with what follows.
      if (!this.isData && !PASSED_OVER.has(code)) {
        this.pass(bytes.subarray(0, kept));
        this.handBack(Buffer.from(bytes.subarray(code === COPY_DONE ? read + HEADER_BYTES : read)));
        return;
      }
      this.left = bytes.readUInt32BE(read + 1) - 4;
      read += HEADER_BYTES;
    }
    this.pass(bytes.subarray(0, kept));
  };

  private pass(bytes: Buffer): void {
    if (bytes.length === 0 || this.sinkFailed) return;
    let full: Promise<void> | undefined;
    try {
      full = this.sink(bytes);
    } catch (error) {
      this.fail(error);
    }
    if (full === undefined) return;
    const { stream } = this;
    stream?.pause();
    this.taken = full;
    full.then(
      () => stream?.resume(),
      (error: unknown) => this.fail(error),
    );
  }

  private fail(error: unknown): void {
    this.sinkFailed = true;
    this.stream?.pause();
    this.reject(error);
  }

  private handBack(bytes: Buffer): void {
    const { stream, handlerOfPg } = this;
    if (stream === undefined || handlerOfPg === undefined) return;
    this.stream = undefined;
    stream.removeListener('data', this.onData);
    stream.on('data', handlerOfPg);
    if (stream instanceof OneBufferSocket) stream.lendsBytes = false;
    if (bytes.length > 0) handlerOfPg(bytes);
  }
}
