import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type pg from 'pg';
import { Failure } from '#common';
import { takeBytes } from '../connection/pg-internals.js';
import type { Session } from '../connection/session.js';

/** The version of the pg_dump that npm brings along. It reads servers up to its major version. */
export const BUNDLED_VERSION = '18.3';
export const BUNDLED_MAJOR = parseInt(BUNDLED_VERSION);

/** Its arguments lie on its stack of 64 kB. More of them overwrite its memory. */
const MAX_ARGUMENT_BYTES = 40_000;

/** The thread's data. */
export interface ThreadData {
  args: string[];
  /** The reply to pg_dump's first message, which asks for a connection. */
  greeting: Uint8Array;
  /** One number: 1 when a reply has been posted. */
  replied: SharedArrayBuffer;
}

export type ThreadMessage = { request: Uint8Array } | { text: Uint8Array } | { failed: string };

/**
 * Runs the pg_dump that is compiled to WebAssembly, in a separate thread, over a session that is of no use
 * afterwards.
 * @returns what it wrote, in UTF-8
 * @throws Error with pg_dump's own words; Failure; or the signal's reason
 */
export async function runBundledPgDump(
  session: Session,
  args: string[],
  signal: AbortSignal,
): Promise<Buffer> {
  if (Buffer.byteLength(args.join(' ')) > MAX_ARGUMENT_BYTES) throw tooManyNames(args.length);
  await endWithItsClient(session);
  signal.throwIfAborted();
  const replied = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const workerData: ThreadData = { args, greeting: await greetingOf(session), replied };
  const exchange = new Exchange();
  session.client.query(exchange);
  // Tests run the sources. The thread needs no variables, which may be secret.
  const thread = new Worker(join(__dirname, `bundled-thread${extname(__filename)}`), {
    workerData,
    env: {},
    // Node warns of a TypeScript module that it finds out to be one.
    execArgv: ['--no-warnings'],
  });
  let stop = () => {};
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      stop = () => reject(signal.reason as Error);
      signal.addEventListener('abort', stop, { once: true });
      thread.on('message', (message: ThreadMessage) => {
        if ('request' in message)
          exchange.send(message.request, (reply) => {
            thread.postMessage(reply, [reply.buffer]);
            Atomics.store(new Int32Array(replied), 0, 1);
            Atomics.notify(new Int32Array(replied), 0);
          });
        else if ('text' in message) resolve(Buffer.from(message.text.buffer));
        else reject(new Error(wordsOf(message.failed)));
      });
      thread.on('error', reject);
      thread.on('exit', () => reject(new Error('its thread ended')));
    });
  } finally {
    signal.removeEventListener('abort', stop);
    // Its memory is not given back before.
    await thread.terminate();
  }
}

function tooManyNames(names: number): Failure {
  return new Failure(
    'DEFINITIONS_FAILED',
    'permanent',
    `The names of about ${names} schemas and tables to leave out are too long for the arguments of the bundled pg_dump.`,
    {
      hint: "Let the role read these schemas, give them names with a beginning that no readable schema has, or install a pg_dump of the server's major version on the worker.",
    },
  );
}

/**
 * Has the server look whether the client is still there also while a statement waits for a lock. Otherwise the session
 * of a pg_dump that was ended would keep its locks. Not all systems can.
 */
async function endWithItsClient(session: Session): Promise<void> {
  await session.query(`SET client_connection_check_interval TO '1s'`).catch(() => undefined);
}

/** pg_dump's errors, without the words of pgDump and the steps of `--verbose`, and with the line breaks that it removes. */
function wordsOf(failed: string): string {
  return failed
    .replace(/^pg_dump failed with exit code \d+\. \nError message: /, '')
    .replace(/^[^]*?(?=pg_dump: error: )/, '')
    .replace(/(?<!^)pg_dump: (?=(error|detail|hint): )/g, '\n$&');
}

/** The parameters that libpq and pg_dump look at. Without is_superuser there would be no subscriptions. */
const REPORTED = [
  'server_version',
  'server_encoding',
  'client_encoding',
  'standard_conforming_strings',
  'integer_datetimes',
  'session_authorization',
  'is_superuser',
];

/** A server's first reply to a new connection: https://www.postgresql.org/docs/current/protocol-flow.html */
async function greetingOf(session: Session): Promise<Uint8Array> {
  const parameters = await session.query<{ name: string; setting: string }>(
    'SELECT name, pg_catalog.current_setting(name) AS setting FROM pg_catalog.unnest($1::pg_catalog.text[]) AS name',
    [REPORTED],
  );
  return Buffer.concat([
    wireMessage('R', Buffer.alloc(4)), // AuthenticationOk
    ...parameters.map(({ name, setting }) => wireMessage('S', Buffer.from(`${name}\0${setting}\0`))),
    wireMessage('K', Buffer.alloc(8)), // BackendKeyData
    wireMessage('Z', Buffer.from('I')), // ReadyForQuery
  ]);
}

function wireMessage(kind: string, body: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(kind);
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

const HEADER_BYTES = 5;
const READY_FOR_QUERY = 0x5a; // Z
const NOTHING = Buffer.alloc(0);

/** Takes a connection's bytes over, for good: pg's own queries would wait until it is closed. */
class Exchange implements pg.Submittable {
  private connection: pg.Connection | undefined;
  private isBroken = false;
  private received: Buffer[] = [];
  /** Bytes of the present message that are still to come. */
  private left = 0;
  private isLast = false;
  /** The beginning of a header that came in pieces. */
  private header = NOTHING;
  private reply: ((bytes: Uint8Array<ArrayBuffer>) => void) | undefined;

  /** Called by pg when it is this query's turn. */
  submit(connection: pg.Connection): void {
    this.connection = connection;
    takeBytes(connection, (bytes) => this.take(Buffer.from(bytes)));
  }

  /** @param reply called with all that the server sends until it awaits the next request; with less if it breaks off */
  send(request: Uint8Array, reply: (bytes: Uint8Array<ArrayBuffer>) => void): void {
    this.reply = reply;
    if (this.isBroken) this.end();
    else this.connection?.stream.write(request);
  }

  /** Called by pg when the connection breaks. */
  handleError(): void {
    this.isBroken = true;
    this.end();
  }

  private take(bytes: Buffer): void {
    this.received.push(bytes);
    let read = 0;
    while (read < bytes.length) {
      if (this.left === 0) {
        const more = bytes.subarray(read, read + HEADER_BYTES - this.header.length);
        const header = Buffer.concat([this.header, more]);
        read += more.length;
        this.header = header.length < HEADER_BYTES ? header : NOTHING;
        if (header.length < HEADER_BYTES) return;
        this.isLast = header[0] === READY_FOR_QUERY;
        this.left = header.readUInt32BE(1) - 4;
      }
      const taken = Math.min(this.left, bytes.length - read);
      this.left -= taken;
      read += taken;
      if (this.left === 0 && this.isLast) this.end();
    }
  }

  private end(): void {
    const { reply, received } = this;
    if (reply === undefined) return;
    this.reply = undefined;
    this.received = [];
    this.isLast = false;
    const bytes = new Uint8Array(received.reduce((length, piece) => length + piece.length, 0));
    let at = 0;
    for (const piece of received) {
      bytes.set(piece, at);
      at += piece.length;
    }
    reply(bytes);
  }
}
