import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { pgDump } from '@electric-sql/pglite-tools/pg_dump';
import type { ThreadData, ThreadMessage } from './bundled.js';

/**
 * Runs the bundled pg_dump, which waits for every reply. It has no connection: what it would send to the server goes to
 * the main thread. Nothing but types may be imported from beside this file, which Node runs as it is in tests.
 */
const { args, greeting, replied } = workerData as ThreadData;
const turn = new Int32Array(replied);
const port = parentPort;
if (port === null) throw new Error('Start this file in a worker thread');

/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
const REPLIED_TO = new Set([...'QS'].map((letter) => letter.charCodeAt(0)));
const STARTUP_HEADER_BYTES = 4;
const HEADER_BYTES = 5;

/** Bytes that are not a whole message yet: long ones come in pieces of 8 kB. */
let rest = Buffer.alloc(0);
let started = false;

/** Takes what pg_dump writes. @returns the server's reply, if it is its turn now */
function exchange(bytes: Uint8Array): Uint8Array | undefined {
  rest = Buffer.concat([rest, bytes]);
  if (!started) {
    if (rest.length < STARTUP_HEADER_BYTES || rest.length < rest.readUInt32BE(0)) return undefined;
    started = true;
    rest = Buffer.alloc(0);
    return greeting;
  }
  let end = 0;
  let awaitsReply = false;
  while (rest.length - end >= HEADER_BYTES) {
    const next = end + 1 + rest.readUInt32BE(end + 1);
    if (next > rest.length) break;
    awaitsReply ||= REPLIED_TO.has(rest[end] ?? 0);
    end = next;
  }
  if (!awaitsReply) return undefined;
  const request = new Uint8Array(rest.subarray(0, end));
  rest = rest.subarray(end);
  send({ request });
  Atomics.wait(turn, 0, 0);
  Atomics.store(turn, 0, 0);
  return (receiveMessageOnPort(port as NonNullable<typeof port>) as { message: Uint8Array }).message;
}

function send(message: ThreadMessage): void {
  port?.postMessage(message);
}

/** The part of a PGlite that pgDump uses. */
const server = {
  query: () => Promise.resolve({ rows: [{ search_path: '' }] }),
  exec: () => Promise.resolve([]),
  execProtocolRawStream(bytes: Uint8Array, { onRawData }: { onRawData: (bytes: Uint8Array) => void }) {
    const reply = exchange(bytes);
    if (reply !== undefined) onRawData(reply);
  },
};

// pgDump removes all lines that begin with \restrict, also from the bodies of functions. In this thread it removes none.
const original = Object.getOwnPropertyDescriptor(RegExp.prototype, Symbol.replace)?.value as (
  this: RegExp,
  text: string,
  by: string,
) => string;
Object.defineProperty(RegExp.prototype, Symbol.replace, {
  value(this: RegExp, text: string, by: string) {
    return this.source.includes('restrict') ? text : original.call(this, text, by);
  },
});
// Its messages begin with the name of the program.
process.argv[1] = 'pg_dump';

pgDump({ pg: server, args })
  .then(async (file) => send({ text: new Uint8Array(await file.arrayBuffer()) }))
  .catch((error: unknown) => send({ failed: error instanceof Error ? error.message : String(error) }));
