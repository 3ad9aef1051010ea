import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from './ports.js';
import { ServerProcess } from './server-process.js';

export interface RedisOptions {
  /** Where its data live, and its password, for a later start. */
  folder: string;
  /** A free one when missing. */
  port?: number;
}

/** A private redis-server on the loopback address, set up as a queue needs it. */
export class EmbeddedRedis {
  private constructor(
    readonly process: ServerProcess,
    readonly url: string,
  ) {}

  /** Whether this machine has a redis-server. */
  static available(): boolean {
    return spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0;
  }

  static async start({ folder, port: wanted }: RedisOptions): Promise<EmbeddedRedis> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const port = wanted ?? (await freePort());
    const passwordFile = join(folder, 'password');
    if (!existsSync(passwordFile))
      writeFileSync(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
    const password = readFileSync(passwordFile, 'utf8');
    const server = await ServerProcess.start({
      name: 'redis-server',
      command: 'redis-server',
      args: ['-'],
      input: `bind 127.0.0.1\nport ${port}\nrequirepass ${password}\ndatabases 256\ndir "${folder}"\nappendonly yes\nmaxmemory-policy noeviction\n`,
      logFile: join(folder, 'redis.log'),
      pidFile: join(folder, 'redis.pid'),
      stopSignal: 'SIGTERM',
    });
    const url = `redis://:${password}@127.0.0.1:${port}`;
    await server.ready(() => ping(url));
    return new EmbeddedRedis(server, url);
  }

  async stop(): Promise<void> {
    await this.process.stop();
  }
}

async function ping(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  client.on('error', () => undefined); // The rejected promise tells.
  try {
    await client.connect();
    await client.ping();
  } finally {
    client.disconnect();
  }
}
