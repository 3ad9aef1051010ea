/**
 * All uses of pg that rely on its undocumented sides, so that a new version of pg is checked in one place. They are
 * needed because pg makes an object of each COPY row, does not report whether a connection is idle, and does not expose
 * the settings that it resolved from the URL and the environment.
 */
import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type pg from 'pg';

const BUFFER_BYTES = 256 * 1024;

/**
 * A socket that reads into one buffer for its whole life. PostgreSQL sends in pieces of 8 kB, and collecting one buffer
 * for each read cost more than reading them.
 * https://nodejs.org/api/net.html#new-netsocketoptions
 */
export class OneBufferSocket extends Socket {
  /** Whether listeners are done with the bytes when they return. If not, they get a copy. */
  lendsBytes = false;

  constructor() {
    // Node's types know `onread` for connect() only.
    const options: SocketConstructorOpts & ConnectOpts = {
      onread: {
        buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
        callback: (length, buffer) => {
          const bytes = Buffer.from(buffer.buffer, buffer.byteOffset, length);
          this.emit('data', this.lendsBytes ? bytes : Buffer.from(bytes));
          return true;
        },
      },
    };
    super(options);
  }
}

/**
 * Takes a connection's bytes away from pg.
 * @returns gives them back to pg, beginning with those that were not read
 */
export function takeBytes(
  { stream }: pg.Connection,
  onData: (bytes: Buffer) => void,
): (unread: Buffer) => void {
  const [handlerOfPg] = stream.listeners('data') as ((bytes: Buffer) => void)[];
  if (handlerOfPg === undefined) throw new Error('pg does not listen to its connection');
  const lend = (lends: boolean) => {
    if (stream instanceof OneBufferSocket) stream.lendsBytes = lends;
  };
  stream.removeListener('data', handlerOfPg);
  stream.on('data', onData);
  lend(true);
  return (unread) => {
    stream.removeListener('data', onData);
    stream.on('data', handlerOfPg);
    lend(false);
    if (unread.length > 0) handlerOfPg(unread);
  };
}

/** Whether the server waits for the next query. */
export function isIdle(client: pg.Client): boolean {
  return (client as pg.Client & { readyForQuery: boolean }).readyForQuery;
}

/** Drops a connection at once, without a message to the server. */
export function destroySocket(client: pg.Client): void {
  client.connection.stream.destroy();
}

/** Returns the startup parameter `options`, which comes from the URL or from PGOPTIONS. */
export function startupOptions(client: pg.ClientBase): string {
  const { connectionParameters } = client as unknown as { connectionParameters: { options?: string } };
  return connectionParameters.options ?? '';
}

/** The settings that pg resolved from the URL and the environment. */
export interface ResolvedSettings {
  /** False without TLS. */
  ssl: boolean | ConnectionOptions;
  host: string;
  port: number;
  user?: string | null;
  database?: string | null;
  password?: string | null;
  connection: { stream: { remoteAddress?: string } };
}

/** Returns how pg connects. Its types lack the TLS options and the address. */
export function resolvedSettings(client: pg.Client): ResolvedSettings {
  return client as unknown as ResolvedSettings;
}

/** The process id that the server, or a pooler, gave in its greeting (BackendKeyData). */
export function greetedBy(client: pg.ClientBase): number {
  return (client as pg.ClientBase & { processID: number }).processID;
}
