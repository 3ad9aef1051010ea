import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { apiReady, Client, freePort, type ServerProcess, startApp } from '../../dev/index.js';
import { newDatabase, servers, sql } from './servers.js';

const DIST = join(process.cwd(), 'dist');
/** Longer than the API caches the account of a token. */
const CACHED_FOR_MS = 60;

export interface StackOptions {
  /** The URL of the queue; the accounts' database if missing. */
  queueUrl?: string | undefined;
  workers?: number;
  env?: Record<string, string>;
  /** Whether to wait until it is ready; true if missing. */
  wait?: boolean;
}

/** A client of an API and its workers, which run as real processes on a separate database. */
export class Stack extends Client {
  private constructor(
    readonly env: Record<string, string>,
    url: string,
    readonly folder: string,
    public api: ServerProcess,
    readonly workers: ServerProcess[],
  ) {
    super(url);
  }

  static readonly secretKey = 'b3BlbiBzZXNhbWUsIHRoZSBrZXkgb2YgdGhlc2UgdCE=';
  static readonly administrator = { email: 'platform@example.org', password: 'correct horse battery' };

  static async start({
    queueUrl,
    workers = 1,
    env: more = {},
    wait = true,
  }: StackOptions = {}): Promise<Stack> {
    const folder = join(servers.folder, `stack-${randomBytes(4).toString('hex')}`);
    mkdirSync(folder);
    const database = more['DATABASE_URL'] ?? (await newDatabase(serverFor(more)));
    const port = await freePort();
    const env: Record<string, string> = {
      SECRET_KEY: Stack.secretKey,
      DATABASE_URL: database,
      // A Redis database for each stack: ids begin at 1, and no stack takes another's jobs.
      QUEUE_URL: queueUrl === undefined ? database : `${queueUrl}/${nextRedisDatabase()}`,
      S3_ENDPOINT: servers.s3.endpoint,
      S3_BUCKET: 'archives',
      // A dump takes longer than all else of a small backup.
      BACKUP_DEFINITIONS: 'off',
      // Its role is a superuser of a server of its own.
      DRILL_AS_SUPERUSER: 'true',
      ...servers.s3.credentials,
      HOST: '127.0.0.1',
      ADMIN_EMAIL: Stack.administrator.email,
      ADMIN_PASSWORD: Stack.administrator.password,
      ...more,
      PORT: String(port),
    };
    const api = await startApp({ app: 'api', dist: DIST, folder, env });
    const scheme = env['TLS_CERT_FILE'] ? 'https' : 'http';
    const stack = new Stack(env, `${scheme}://127.0.0.1:${port}`, folder, api, []);
    for (let i = 0; i < workers; i++) await stack.startWorker();
    if (wait) {
      await stack.untilReady();
      await stack.login();
    }
    return stack;
  }

  /** Waits until the API is ready for work. */
  async untilReady(): Promise<void> {
    await apiReady(this.api, this.url);
  }

  /** Ends the API by a signal and starts it again at the same address. */
  async restartApi(signal: NodeJS.Signals): Promise<void> {
    this.api.signal(signal);
    await this.api.ended();
    await this.api.stop();
    this.api = await startApp({ app: 'api', dist: DIST, folder: this.folder, env: this.env });
    await this.untilReady();
  }

  async startWorker(more: Record<string, string> = {}): Promise<ServerProcess> {
    const name = `worker-${this.workers.length + 1}`;
    const env = { ...this.env, ...more };
    const worker = await startApp({ app: 'worker', name, dist: DIST, folder: this.folder, env });
    this.workers.push(worker);
    return worker;
  }

  override login(credentials = Stack.administrator): Promise<string> {
    return super.login(credentials);
  }

  /** Changes an account, a session or a key in the database, and waits until the API reads it again. */
  async changeByHand(statement: string, values: unknown[] = []): Promise<void> {
    await sql(this.env['DATABASE_URL'] ?? '', statement, values);
    await sleep(CACHED_FOR_MS);
  }

  /** Everything that the processes logged. */
  logs(): string {
    return readdirSync(this.folder)
      .filter((name) => name.endsWith('.log'))
      .map((name) => readFileSync(join(this.folder, name), 'utf8'))
      .join('');
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.stop()));
    await this.api.stop();
  }
}

/**
 * Debian's PostgreSQL for backups with schema definitions, if it is installed: the pg_dump on PATH reads it. The bundled
 * one, which reads the embedded server, takes half a second of CPU time for each backup.
 */
function serverFor({ BACKUP_DEFINITIONS: definitions = 'off' }: Record<string, string>): string | undefined {
  return definitions === 'off' ? undefined : servers.debianPostgres?.url;
}

/** Counts in a file, because each test file has a separate module registry. */
export function nextRedisDatabase(): number {
  const file = join(servers.folder, 'redis-databases');
  const next = (existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0) + 1;
  writeFileSync(file, String(next));
  return next;
}
