import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A statement on its way to PostgreSQL. */
export interface Statement {
  /** The session's application_name. */
  session: string;
  sql: string;
}

/** Codes in the place of a protocol version: https://www.postgresql.org/docs/current/protocol-message-formats.html */
const CANCEL_REQUEST = 80877102;
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;

/**
 * A proxy of PostgreSQL that sees every statement before the server and can hold it back. It parses only the client's
 * messages.
 */
export class StatementProxy {
  private readonly sockets = new Set<Socket>();
  /** Called before each statement, which is passed on when the promise resolves. */
  before: (statement: Statement) => Promise<void> = async () => {};
  /** Whether to reject the startup parameters that PgBouncer rejects, such as `options`. */
  refusesOptions = false;

  private constructor(
    private readonly server: Server,
    /** The target's URL with this proxy's address. */
    readonly url: string,
  ) {}

  static async to(target: string): Promise<StatementProxy> {
    const { hostname, port } = new URL(target);
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = new URL(target);
    url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const proxy = new StatementProxy(server, url.href);
    server.on('connection', (client) => proxy.join(client, connect(Number(port), hostname)));
    return proxy;
  }

  private join(client: Socket, server: Socket): void {
    const end = () => {
      for (const socket of [client, server]) socket.destroy();
    };
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', end).on('close', end);
      socket.on('close', () => this.sockets.delete(socket));
    }
    server.pipe(client);
    this.passOn(client, server)
      .catch(() => undefined)
      .finally(end);
  }

  private async passOn(client: Socket, server: Socket): Promise<void> {
    let session: string | undefined;
    let waiting = Buffer.alloc(0);
    for await (const bytes of client) {
      waiting = Buffer.concat([waiting, bytes as Buffer]);
      for (;;) {
        // Only the first message of a session has no type byte before its length.
        const message = nextMessage(waiting, session === undefined ? 0 : 1);
        if (message === undefined) break;
        waiting = waiting.subarray(message.length);
        if (session === undefined) {
          const code = message.readInt32BE(4);
          if (code === SSL_REQUEST || code === GSS_REQUEST) {
            client.write('N'); // The proxy cannot read encrypted messages.
            continue;
          }
          if (code !== CANCEL_REQUEST) {
            const parameters = startupParameters(message);
            const refused = [...parameters.keys()].find((name) => !POOLED_PARAMETERS.includes(name));
            if (this.refusesOptions && refused !== undefined) {
              client.write(fatal('08P01', `unsupported startup parameter: ${refused}`));
              return;
            }
            session = parameters.get('application_name') ?? '';
          }
        } else {
          const sql = statementOf(message);
          if (sql !== undefined) await this.before({ session, sql });
        }
        server.write(message);
      }
    }
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}

/** @returns undefined if the message is incomplete */
function nextMessage(bytes: Buffer, letters: number): Buffer | undefined {
  if (bytes.length < letters + 4) return undefined;
  const length = letters + bytes.readInt32BE(letters);
  return bytes.length < length ? undefined : bytes.subarray(0, length);
}

/** https://www.pgbouncer.org/config.html#ignore_startup_parameters */
const POOLED_PARAMETERS = [
  'user',
  'database',
  'application_name',
  'client_encoding',
  'datestyle',
  'timezone',
  'standard_conforming_strings',
];

/** Parses the names and values after length and version. Two NULs end them. */
function startupParameters(startup: Buffer): Map<string, string> {
  const words = startup.subarray(8, -2).toString().split('\0');
  return new Map(
    words.flatMap((word, index) => (index % 2 === 0 ? [[word.toLowerCase(), words[index + 1] ?? '']] : [])),
  );
}

function fatal(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const header = Buffer.from('E\0\0\0\0');
  header.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([header, fields]);
}

/** The SQL of a Query or a Parse message. */
function statementOf(message: Buffer): string | undefined {
  const words = message.subarray(5).toString().split('\0');
  switch (String.fromCharCode(message[0] ?? 0)) {
    case 'Q':
      return words[0];
    case 'P':
      return words[1];
    default:
      return undefined;
  }
}
