import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A network between a client and a server that can be slow, stall or break. */
export class Proxy {
  private readonly pairs = new Set<[Socket, Socket]>();
  private stalled = false;
  /** Breaks every connection after this number of bytes from the server. */
  breakAfterBytes = Infinity;
  /** Limits the rate from the server on each connection. */
  bytesPerSecond = Infinity;
  /** The number of broken connections. */
  broken = 0;

  private constructor(
    private readonly server: Server,
    readonly url: string,
    /** The server of new connections. */
    public target: string,
  ) {}

  static async to(target: string): Promise<Proxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new Proxy(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`, target);
    server.on('connection', (client) => {
      const { hostname, port } = new URL(proxy.target);
      proxy.join(client, connect(Number(port), hostname));
    });
    return proxy;
  }

  private join(client: Socket, server: Socket): void {
    const pair: [Socket, Socket] = [client, server];
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    let passed = 0;
    server.on('data', (bytes: Buffer) => {
      passed += bytes.length;
      if (passed > this.breakAfterBytes) {
        this.broken++;
        end();
      } else if (this.bytesPerSecond < Infinity) {
        server.pause();
        setTimeout(() => this.stalled || server.resume(), (bytes.length / this.bytesPerSecond) * 1_000);
      }
    });
    if (this.stalled) for (const socket of pair) socket.pause();
    else {
      client.pipe(server);
      server.pipe(client);
    }
  }

  /** Passes nothing on, without refusing connections. */
  stall(): void {
    this.stalled = true;
    for (const [client, server] of this.pairs) {
      client.unpipe(server).pause();
      server.unpipe(client).pause();
    }
  }

  resume(): void {
    this.stalled = false;
    for (const [client, server] of this.pairs) {
      client.pipe(server);
      server.pipe(client);
    }
  }

  /** Breaks all connections and refuses new ones. */
  async close(): Promise<void> {
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  /** Listens again at the same address after close(). */
  async reopen(): Promise<void> {
    this.server.listen(Number(new URL(this.url).port), '127.0.0.1');
    await once(this.server, 'listening');
  }
}
