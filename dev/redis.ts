import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { keptPassword } from './folders.js';
import { freePort, ServerProcess } from './server-process.js';

export interface RedisOptions {
  /** The folder for its data and its passwords. */
  folder: string;
  /** A free port if missing. */
  port?: number;
}

/** The rights of the API and the workers: only their queues' keys, and no dangerous commands. */
export const REDIS_RIGHTS = {
  api: '~snapshotd:* +@all -@dangerous +info',
  worker: '~snapshotd:daemons:* ~snapshotd:checks:* ~snapshotd:workers:* +@all -@dangerous +info',
};
export type RedisUser = keyof typeof REDIS_RIGHTS;

/** A private redis-server on the loopback address, configured for a queue. */
export class EmbeddedRedis {
  private constructor(
    readonly process: ServerProcess,
    /** The URL of the user with all rights. */
    readonly url: string,
    private readonly passwords: Record<RedisUser, string>,
  ) {}

  /** Whether this machine has a redis-server. */
  static available(): boolean {
    return spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0;
  }

  static async start({ folder, port: wanted }: RedisOptions): Promise<EmbeddedRedis> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const port = wanted ?? (await freePort());
    const password = keptPassword(join(folder, 'password'));
    const passwords = {
      api: keptPassword(join(folder, 'api-password')),
      worker: keptPassword(join(folder, 'worker-password')),
    };
    const users = (['api', 'worker'] as const).map(
      (name) => `user ${name} on >${passwords[name]} ${REDIS_RIGHTS[name]}\n`,
    );
    const server = await ServerProcess.start({
      name: 'redis-server',
      command: 'redis-server',
      args: ['-'],
      input: `bind 127.0.0.1\nport ${port}\nrequirepass ${password}\ndatabases 256\ndir "${folder}"\nappendonly yes\nmaxmemory-policy noeviction\n${users.join('')}`,
      logFile: join(folder, 'redis.log'),
      pidFile: join(folder, 'redis.pid'),
      stopSignal: 'SIGTERM',
    });
    const url = `redis://:${password}@127.0.0.1:${port}`;
    await server.ready(() => ping(url));
    return new EmbeddedRedis(server, url, passwords);
  }

  urlOf(user: RedisUser): string {
    const url = new URL(this.url);
    url.username = user;
    url.password = this.passwords[user];
    return url.href;
  }

  async stop(): Promise<void> {
    await this.process.stop();
  }
}

async function ping(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  client.on('error', () => undefined); // The promise is rejected, too.
  try {
    await client.connect();
    await client.ping();
  } finally {
    client.disconnect();
  }
}
