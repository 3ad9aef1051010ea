import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { EmbeddedPostgres, EmbeddedRedis, type ServerProcess } from '../../dev/index.js';
import { servers } from './servers.js';

interface Running {
  process: ServerProcess;
  url: string;
  stop(): Promise<void>;
}

export interface OwnPostgresOptions {
  binaries?: string | undefined;
  settings?: Record<string, string>;
}

/** A server for one test, which can be stopped in any way and started again with the same data. */
export class OwnServer {
  private constructor(
    private readonly start: () => Promise<Running>,
    private running: Running,
  ) {}

  /** Starts a Redis with an append-only file. */
  static redis(): Promise<OwnServer> {
    const folder = newFolder('redis');
    return OwnServer.from((port) => EmbeddedRedis.start({ folder, ...port }));
  }

  static postgres({ binaries, settings }: OwnPostgresOptions = {}): Promise<OwnServer> {
    const folder = newFolder('postgres');
    const options = { folder, durable: true, ...(binaries !== undefined && { binaries }) };
    return OwnServer.from(async (port) => {
      const server = await EmbeddedPostgres.start({
        ...options,
        ...(settings !== undefined && { settings }),
        ...port,
      });
      return { process: server.process, url: server.url(), stop: () => server.stop() };
    });
  }

  private static async from(start: (port?: { port: number }) => Promise<Running>): Promise<OwnServer> {
    const first = await start();
    const port = Number(new URL(first.url).port);
    return new OwnServer(() => start({ port }), first);
  }

  get url(): string {
    return this.running.url;
  }

  /** Its whole log. */
  log(): string {
    return this.running.process.logTail(Infinity);
  }

  /** Ends it by a signal. */
  async end(signal: NodeJS.Signals): Promise<void> {
    this.running.process.signal(signal);
    await this.running.process.ended();
    await this.running.stop();
  }

  /** Starts it again on the same port with the same data. */
  async startAgain(): Promise<void> {
    this.running = await this.start();
  }

  stop(): Promise<void> {
    return this.running.stop();
  }
}

/** Separate queues on each backend, and the signal that ends them at once. */
export const ownQueues: [string, () => Promise<OwnServer>, NodeJS.Signals][] = [
  ...(servers.redis
    ? [['Redis', () => OwnServer.redis(), 'SIGKILL'] as [string, () => Promise<OwnServer>, NodeJS.Signals]]
    : []),
  // Immediate shutdown: killing only PostgreSQL's first process leaves the others running.
  ['PostgreSQL', () => OwnServer.postgres(), 'SIGQUIT'],
];

function newFolder(name: string): string {
  return join(servers.folder, `own-${name}-${randomBytes(4).toString('hex')}`);
}
