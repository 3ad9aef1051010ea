import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface Received {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** The status of the answer. */
  status: number;
}

/** A receiver of notifications: a server on loopback that records all requests. */
export class Receiver {
  readonly received: Received[] = [];
  /** Gives the answer to a request: a status, and a location for redirects. */
  answer: (request: Omit<Received, 'status'>) => { status: number; location?: string } = () => ({
    status: 204,
  });
  private readonly arrivals = new EventEmitter();
  private readonly server = createServer((request, response) => {
    void text(request).then((body) => {
      const { method = '', url: path = '', headers } = request;
      const { status, location } = this.answer({ method, path, headers, body });
      response.writeHead(status, location === undefined ? {} : { location }).end();
      this.received.push({ method, path, headers, body, status });
      this.arrivals.emit('request');
    });
  });

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    receiver.server.listen(0, '127.0.0.1');
    await once(receiver.server, 'listening');
    return receiver;
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Waits for this number of matching requests and gives them. */
  async until(count: number, wanted: (request: Received) => boolean): Promise<Received[]> {
    for (;;) {
      const found = this.received.filter(wanted);
      if (found.length >= count) return found;
      await once(this.arrivals, 'request');
    }
  }

  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}
