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
 * A network between PostgreSQL and its clients that sees every statement before the server does, and can hold
 * it back. It understands of the protocol what that takes, and nothing of what the server answers.
 */
export class StatementProxy {
  private readonly sockets = new Set<Socket>();
  /** A statement goes on to the server when this has resolved. */
  before: (statement: Statement) => Promise<void> = async () => {};

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
        // Only a session's first message has no letter ahead of its length.
        const message = nextMessage(waiting, session === undefined ? 0 : 1);
        if (message === undefined) break;
        waiting = waiting.subarray(message.length);
        if (session === undefined) {
          const code = message.readInt32BE(4);
          if (code === SSL_REQUEST || code === GSS_REQUEST) {
            client.write('N'); // What is encrypted cannot be read here.
            continue;
          }
          if (code !== CANCEL_REQUEST) session = applicationName(message);
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

/** @returns undefined while it is not there as a whole */
function nextMessage(bytes: Buffer, letters: number): Buffer | undefined {
  if (bytes.length < letters + 4) return undefined;
  const length = letters + bytes.readInt32BE(letters);
  return bytes.length < length ? undefined : bytes.subarray(0, length);
}

/** Names and values take turns after length and version. */
function applicationName(startup: Buffer): string {
  const words = startup.subarray(8).toString().split('\0');
  return words[words.findIndex((word, index) => index % 2 === 0 && word === 'application_name') + 1] ?? '';
}

/** The text of a simple query, or of a statement to be prepared, whose name stands before it. */
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
