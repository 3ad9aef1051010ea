import type pg from 'pg';
import { postgresFailure } from '../connection/errors.js';
import {
  displayTable,
  quoteIdentifier,
  quoteLiteral,
  quoteTable,
  type Relation,
} from '../connection/identifiers.js';
import { takeBytes } from '../connection/pg-internals.js';
import type { Session } from '../connection/session.js';
import type { Chunk } from './table-chunks.js';

/**
 * Receives the bytes of one COPY. While the promise of a call is pending, no other call comes and the bytes stay valid.
 * A call that returns no promise must be done with the bytes when it returns.
 */
export interface CopyReceiver {
  write(bytes: Buffer): Promise<void> | undefined;
  /** Ends an entry; the next one begins with the header line again. @param rows in this entry */
  endEntry(rows: number): Promise<void> | undefined;
  /** Ends the COPY. @param rows in the last entry */
  end(rows: number): Promise<void> | undefined;
}

/**
 * Copies chunks of tables' own rows (not those of their children) as CSV with a header line, in the server's encoding.
 * All chunks take one round trip, because a round trip takes longer than reading a small table. Generated columns are
 * omitted: the server computes them again.
 * https://www.postgresql.org/docs/current/sql-copy.html
 * @param receivers one for each chunk, in their order
 * @throws Failure of PostgreSQL, naming the table; or a receiver's error, after which the session is unusable
 */
export async function copyOut(
  session: Session,
  chunks: Chunk[],
  serverEncoding: string,
  receivers: CopyReceiver[],
): Promise<void> {
  const text = chunks.map((chunk) => copyStatements(chunk, serverEncoding)).join('; ');
  const limits = chunks.map(({ entryBytes = Infinity }) => entryBytes);
  await run(session, new CopyOutQuery(text, receivers, limits), (received) => {
    const table = chunks[received]?.table;
    return table ? displayTable(table) : 'tables';
  });
}

export interface CopyQuery {
  /** SELECT … of system tables. PostgreSQL plans it, so it must name no user's table. */
  sql: string;
  /** The contents, for messages. */
  what: string;
  /** The bytes of CSV after which the next row begins another entry; missing for one entry. */
  entryBytes?: number;
}

/**
 * Copies the rows of a query as CSV with a header line, in the server's encoding.
 * @throws Failure of PostgreSQL, or the receiver's error, after which the session is unusable
 */
export async function copyQueryOut(
  session: Session,
  { sql, what, entryBytes = Infinity }: CopyQuery,
  serverEncoding: string,
  receiver: CopyReceiver,
): Promise<void> {
  const text = `COPY (${sql}) TO STDOUT (FORMAT csv, HEADER true, ENCODING ${quoteLiteral(serverEncoding)})`;
  await run(session, new CopyOutQuery(text, [receiver], [entryBytes]), () => what);
}

/** @param nameOf names the contents of a receiver for messages */
async function run(
  session: Session,
  query: CopyOutQuery,
  nameOf: (receiver: number) => string,
): Promise<void> {
  session.client.query(query);
  try {
    await query.ended;
  } catch (error) {
    if (!query.receiverFailed)
      throw postgresFailure(error, session.server, `copying ${nameOf(query.received)}`);
    session.destroy();
    throw error;
  }
}

class FirstRow extends Error {}

/**
 * Returns whether this transaction sees rows in a table, not counting its children's. It uses COPY, which plans nothing,
 * so that no code of the table's owner runs (see {@link listPlannable}). At the first row it drops the connection.
 * @throws Failure of PostgreSQL
 */
export async function hasRows(session: Session, table: Relation): Promise<boolean> {
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
  // A query of blocks locks the table's indexes. Rolling back to the savepoint releases those locks.
  return chunk.blocks === undefined
    ? copy
    : `SAVEPOINT chunk; ${copy}; ROLLBACK TO SAVEPOINT chunk; RELEASE SAVEPOINT chunk`;
}

/** Returns the table or query to copy. Without a list of columns COPY accepts tables that have none. */
function source({ table, blocks, condition = '' }: Chunk): string {
  const name = quoteTable(table);
  const columns = table.columns
    .filter(({ generated }) => !generated)
    .map((column) => quoteIdentifier(column.name))
    .join(', ');
  if (condition !== '') return `(SELECT ${columns} FROM ONLY ${name} ${condition})`;
  if (blocks === undefined) return columns === '' ? name : `${name} (${columns})`;
  const end = blocks.end === undefined ? '' : ` AND ctid < '(${blocks.end},0)'`;
  return `(SELECT ${columns} FROM ONLY ${name} WHERE ctid >= '(${blocks.first},0)'${end})`;
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
const COPY_DATA = 0x64; // d
const COMMAND_COMPLETE = 0x43; // C
/** CopyOutResponse, CopyDone, NoticeResponse, ParameterStatus, NotificationResponse: messages without data. */
const PASSED_OVER = new Set([...'HcNSA'].map((letter) => letter.charCodeAt(0)));
const HEADER_BYTES = 5;
const NOTHING = Buffer.alloc(0);

/**
 * Reads the connection's bytes in pg's place while COPYs send. The server sends one message per row. This removes the
 * message headers in place, so that a row costs one move of its bytes.
 */
class CopyOutQuery implements pg.Submittable {
  readonly ended: Promise<void>;
  /** Receivers that are complete. */
  received = 0;
  receiverFailed = false;
  private resolve: () => void = () => undefined;
  private reject: (error: unknown) => void = () => undefined;
  private stream: pg.Connection['stream'] | undefined;
  private returnBytes: ((unread: Buffer) => void) | undefined;
  /** Bytes that are not processed yet: the beginning of a message, or data that a receiver was not ready for. */
  private rest = NOTHING;
  /** Bytes of the current message that have not arrived. */
  private left = 0;
  private isData = false;
  /** The first message of the current COPY. */
  private header: Buffer = NOTHING;
  private inHeader = false;
  /** Rows of the current COPY in all entries; rows and bytes of the current entry. */
  private rows = 0;
  private rowsInEntry = 0;
  private bytesInEntry = 0;

  constructor(
    private readonly text: string,
    private readonly receivers: CopyReceiver[],
    /** For each receiver the most bytes in an entry. A longer row is an entry by itself. */
    private readonly entryBytes: number[],
    private readonly hasHeader = true,
  ) {
    this.ended = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.ended.catch(() => undefined); // copyOut() handles it.
  }

  /** Called by pg when this query is the next one. */
  submit(connection: pg.Connection): void {
    this.stream = connection.stream;
    this.returnBytes = takeBytes(connection, this.onData);
    connection.query(this.text);
  }

  /** Called by pg for the last message, which comes when every receiver is complete. */
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
    /** The range of the current receiver's bytes. */
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
        busy = this.endEntry(bytes.subarray(from, end));
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
        // ReadyForQuery or an error: pg handles them.
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
   * Begins a message of data: the server sends the header line, then "always one per row".
   * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
   * @returns false if the current entry must end first
   */
  private begins(length: number): boolean {
    const limit = this.entryBytes[this.received] ?? Infinity;
    if (this.rowsInEntry > 0 && this.bytesInEntry + length > limit) return false;
    this.inHeader = this.hasHeader && this.header.length === 0;
    this.bytesInEntry += length;
    if (this.inHeader) return true;
    this.rows++;
    this.rowsInEntry++;
    return true;
  }

  private async endEntry(bytes: Buffer): Promise<void> {
    const receiver = this.receivers[this.received];
    await this.give(bytes);
    await receiver?.endEntry(this.rowsInEntry);
    this.rowsInEntry = 0;
    this.bytesInEntry = this.header.length;
    await receiver?.write(this.header);
  }

  private give(bytes: Buffer): Promise<void> | undefined {
    return bytes.length > 0 ? this.receivers[this.received]?.write(bytes) : undefined;
  }

  /** Ends a statement. @param tag its command tag, which counts the rows of a COPY */
  private complete(tag: string): Promise<void> | undefined {
    const counted = /^COPY (\d+)$/.exec(tag)?.[1];
    if (counted === undefined) return undefined;
    if (Number(counted) !== this.rows)
      throw new Error(`PostgreSQL sent ${this.rows} rows and counted ${counted}`);
    const { rowsInEntry } = this;
    this.header = NOTHING;
    this.rows = this.rowsInEntry = this.bytesInEntry = 0;
    return this.receivers[this.received++]?.end(rowsInEntry);
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

  /** Gives the connection back to pg. */
  private handBack(unread: Buffer): void {
    const { returnBytes } = this;
    this.stream = this.returnBytes = undefined;
    returnBytes?.(unread);
  }
}
