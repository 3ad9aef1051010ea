import type { Socket } from 'node:net';
import type pg from 'pg';
import { postgresFailure } from '../connection/errors.js';
import { displayTable, quoteIdentifier, quoteLiteral, quoteTable } from '../connection/identifiers.js';
import { OneBufferSocket } from '../connection/one-buffer-socket.js';
import type { Session } from '../connection/session.js';
import type { Chunk } from './table-chunks.js';

/**
 * Takes what one COPY sends. While what a call returned is pending, there are no further calls, and the bytes stay;
 * otherwise they are gone when it returns.
 */
export interface CopyReceiver {
  write(bytes: Buffer): Promise<void> | undefined;
  /** A part is complete; the next one begins with the header line again. @param rows in this part */
  endEntry(rows: number): Promise<void> | undefined;
  /** That was all. @param rows in the last part */
  end(rows: number): Promise<void> | undefined;
}

/**
 * Copies chunks of tables' own rows (not those of their children) as CSV with a header line, in the server's
 * encoding: one after the other, and in one round trip, which takes longer than to read a small table. Generated
 * columns are left out: the server computes them again.
 * https://www.postgresql.org/docs/current/sql-copy.html
 * @param receivers one for each chunk, in their order
 * @throws Failure of PostgreSQL, naming the table; or what a receiver failed with, after which the session is
 * unusable
 */
export async function copyOut(
  session: Session,
  chunks: Chunk[],
  serverEncoding: string,
  receivers: CopyReceiver[],
): Promise<void> {
  const text = chunks.map((chunk) => copyStatements(chunk, serverEncoding)).join('; ');
  const parts = chunks.map(({ partBytes = Infinity }) => partBytes);
  const query = new CopyOutQuery(text, receivers, parts);
  session.client.query(query);
  try {
    await query.ended;
  } catch (error) {
    const table = chunks[query.received]?.table;
    if (!query.receiverFailed)
      throw postgresFailure(error, session.server, `copying ${table ? displayTable(table) : 'tables'}`);
    session.destroy();
    throw error;
  }
}

class FirstRow extends Error {}

/**
 * Whether a table has rows of its own that this transaction sees. PostgreSQL plans nothing for it, so that no code of
 * the table's owner runs (see {@link listPlannable}). If there are rows, the connection is dropped at the first one.
 * @throws Failure of PostgreSQL
 */
export async function hasRows(session: Session, table: { schema: string; name: string }): Promise<boolean> {
  const stop = () => {
    throw new FirstRow();
  };
  const query = new CopyOutQuery(
    `COPY ${quoteTable(table)} TO STDOUT`,
    [{ write: stop, endEntry: stop, end: () => undefined }],
    [Infinity],
    false,
  );
  session.client.query(query);
  try {
    await query.ended;
    return false;
  } catch (error) {
    if (!(error instanceof FirstRow))
      throw postgresFailure(error, session.server, `looking for rows in ${displayTable(table)}`);
    session.destroy();
    return true;
  }
}

function copyStatements(chunk: Chunk, encoding: string): string {
  const copy = `COPY ${source(chunk)} TO STDOUT (FORMAT csv, HEADER true, ENCODING ${quoteLiteral(encoding)})`;
  // A query with blocks locks the table's indexes; rolling back to here lets go of them.
  return chunk.blocks === undefined
    ? copy
    : `SAVEPOINT chunk; ${copy}; ROLLBACK TO SAVEPOINT chunk; RELEASE SAVEPOINT chunk`;
}

/** COPY of a table plans nothing, and without a list of columns it also copies tables that have none. */
function source({ table, blocks }: Chunk): string {
  const name = quoteTable(table);
  const columns = table.columns
    .filter(({ generated }) => !generated)
    .map((column) => quoteIdentifier(column.name))
    .join(', ');
  if (blocks === undefined) return columns === '' ? name : `${name} (${columns})`;
  const end = blocks.end === undefined ? '' : ` AND ctid < '(${blocks.end},0)'`;
  return `(SELECT ${columns} FROM ONLY ${name} WHERE ctid >= '(${blocks.first},0)'${end})`;
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
const COPY_DATA = 0x64; // d
const COMMAND_COMPLETE = 0x43; // C
/** CopyOutResponse, CopyDone, NoticeResponse, ParameterStatus, NotificationResponse: nothing for a receiver in them. */
const PASSED_OVER = new Set([...'HcNSA'].map((letter) => letter.charCodeAt(0)));
const HEADER_BYTES = 5;
const NOTHING = Buffer.alloc(0);

/** What pg does not show of a connection in its types. */
interface Connection {
  stream: Socket;
  query(text: string): void;
}

/**
 * Takes the connection's bytes over while COPYs send. The server puts every row into a message of its own: their
 * headers are cut out in place, so that a row costs one move of its bytes and nothing else.
 */
class CopyOutQuery implements pg.Submittable {
  readonly ended: Promise<void>;
  /** How many receivers have had all of theirs. */
  received = 0;
  receiverFailed = false;
  private resolve: () => void = () => undefined;
  private reject: (error: unknown) => void = () => undefined;
  private stream: Socket | undefined;
  private handlerOfPg: ((bytes: Buffer) => void) | undefined;
  /** What has come and was not looked at: the beginning of a message, or what a receiver was not ready for. */
  private rest = NOTHING;
  /** Bytes of the present message that are still to come. */
  private left = 0;
  private isData = false;
  /** The first message of the present COPY. */
  private header: Buffer = NOTHING;
  private inHeader = false;
  /** Rows of the present COPY in all parts, rows and bytes of the present part. */
  private rows = 0;
  private rowsInPart = 0;
  private bytesInPart = 0;

  constructor(
    private readonly text: string,
    private readonly receivers: CopyReceiver[],
    /** For each of them the bytes that a part has at most, unless it is one row. */
    private readonly partBytes: number[],
    private readonly hasHeader = true,
  ) {
    this.ended = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.ended.catch(() => undefined); // The copying hears of it.
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

  /** The last message, which pg is given; it comes after every receiver has had its own. */
  handleReadyForQuery(): void {
    this.resolve();
  }

  /** Also called when the connection breaks. */
  handleError(error: unknown): void {
    this.handBack(NOTHING);
    this.reject(error);
  }

  private readonly onData = (received: Buffer): void => {
    const bytes = this.rest.length === 0 ? received : Buffer.concat([this.rest, received]);
    try {
      this.take(bytes);
    } catch (error) {
      this.fail(error);
    }
  };

  private take(bytes: Buffer): void {
    let read = 0;
    /** Where the present receiver's bytes begin, and where they end so far. */
    let from = 0;
    let end = 0;
    let busy: Promise<void> | undefined;
    while (read < bytes.length && busy === undefined) {
      if (this.left > 0) {
        const next = Math.min(read + this.left, bytes.length);
        if (this.isData) {
          if (this.inHeader) this.header = Buffer.concat([this.header, bytes.subarray(read, next)]);
          bytes.copyWithin(end, read, next);
          end += next - read;
        }
        this.left -= next - read;
        read = next;
        continue;
      }
      if (bytes.length - read < HEADER_BYTES) break;
      const code = bytes[read] ?? 0;
      const length = bytes.readUInt32BE(read + 1) - 4;
      this.isData = code === COPY_DATA;
      if (this.isData && !this.begins(length)) {
        busy = this.endPart(bytes.subarray(from, end));
        from = end = read;
        break;
      }
      if (this.isData || PASSED_OVER.has(code)) {
        this.left = length;
        read += HEADER_BYTES;
        continue;
      }
      busy = this.give(bytes.subarray(from, end));
      from = end = read;
      if (busy !== undefined) break;
      if (code !== COMMAND_COMPLETE) {
        // The end of all, or an error: pg knows what to do with it.
        this.handBack(Buffer.from(bytes.subarray(read)));
        return;
      }
      const next = read + HEADER_BYTES + length;
      if (next > bytes.length) break;
      busy = this.complete(bytes.toString('latin1', read + HEADER_BYTES, next - 1));
      from = end = read = next;
    }
    this.rest = read < bytes.length ? Buffer.from(bytes.subarray(read)) : NOTHING;
    busy ??= this.give(bytes.subarray(from, end));
    if (busy !== undefined) this.waitFor(busy);
  }

  /**
   * A message begins: the server sends "always one per row", and the header line before them.
   * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
   * @returns false when the present part must end first
   */
  private begins(length: number): boolean {
    const limit = this.partBytes[this.received] ?? Infinity;
    if (this.rowsInPart > 0 && this.bytesInPart + length > limit) return false;
    this.inHeader = this.hasHeader && this.header.length === 0;
    this.bytesInPart += length;
    if (this.inHeader) return true;
    this.rows++;
    this.rowsInPart++;
    return true;
  }

  private async endPart(bytes: Buffer): Promise<void> {
    const receiver = this.receivers[this.received];
    await this.give(bytes);
    await receiver?.endEntry(this.rowsInPart);
    this.rowsInPart = 0;
    this.bytesInPart = this.header.length;
    await receiver?.write(this.header);
  }

  private give(bytes: Buffer): Promise<void> | undefined {
    return bytes.length > 0 ? this.receivers[this.received]?.write(bytes) : undefined;
  }

  /** A statement is done: a COPY, or one that has nothing to send. */
  private complete(tag: string): Promise<void> | undefined {
    const counted = /^COPY (\d+)$/.exec(tag)?.[1];
    if (counted === undefined) return undefined;
    if (Number(counted) !== this.rows)
      throw new Error(`PostgreSQL sent ${this.rows} rows and says that it sent ${counted}`);
    const { rowsInPart } = this;
    this.header = NOTHING;
    this.rows = this.rowsInPart = this.bytesInPart = 0;
    return this.receivers[this.received++]?.end(rowsInPart);
  }

  private waitFor(busy: Promise<void>): void {
    this.stream?.pause();
    busy.then(
      () => {
        this.stream?.resume();
        this.onData(NOTHING);
      },
      (error: unknown) => this.fail(error),
    );
  }

  private fail(error: unknown): void {
    this.receiverFailed = true;
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
