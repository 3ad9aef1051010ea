import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasEnded } from '#common';
import type { DaemonStatus } from '#contracts';
import { apiReady, freePort, type ServerProcess, startApp } from '../../dev/index.js';
import { newDatabase, servers, sql } from './servers.js';

const DIST = join(process.cwd(), 'dist');
/** Longer than the API remembers whose a token is. */
const FORGOTTEN_AFTER_MS = 60;

export interface StackOptions {
  /** The URL of the queue; the database's own when missing. */
  queueUrl?: string | undefined;
  workers?: number;
  env?: Record<string, string>;
  /** Waits for it to be ready unless told otherwise. */
  wait?: boolean;
}

export interface Answer<Body> {
  status: number;
  headers: Headers;
  body: Body;
}

/** The API and its workers as real processes, on a database of their own. */
export class Stack {
  private token = '';

  private constructor(
    readonly env: Record<string, string>,
    readonly url: string,
    readonly folder: string,
    public api: ServerProcess,
    readonly workers: ServerProcess[],
  ) {}

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
    const database = more['DATABASE_URL'] ?? (await newDatabase());
    const port = await freePort();
    const env: Record<string, string> = {
      SECRET_KEY: Stack.secretKey,
      DATABASE_URL: database,
      // A database of Redis for each stack: ids begin at 1, and no stack takes another's daemons.
      QUEUE_URL: queueUrl === undefined ? database : `${queueUrl}/${nextRedisDatabase()}`,
      S3_ENDPOINT: servers.s3.endpoint,
      S3_BUCKET: 'archives',
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

  async startWorker(): Promise<ServerProcess> {
    const name = `worker-${this.workers.length + 1}`;
    const worker = await startApp({ app: 'worker', name, dist: DIST, folder: this.folder, env: this.env });
    this.workers.push(worker);
    return worker;
  }

  async login(credentials = Stack.administrator): Promise<string> {
    const { body } = await this.call<{ sessionToken: string }>('POST', '/auth/v1/session', credentials);
    this.token = body.sessionToken;
    return this.token;
  }

  get sessionToken(): string {
    return this.token;
  }

  /** Changes an account, a session or a key behind the API's back, and waits until it asks the database anew. */
  async changeByHand(statement: string, values: unknown[] = []): Promise<void> {
    await sql(this.env['DATABASE_URL'] ?? '', statement, values);
    await sleep(FORGOTTEN_AFTER_MS);
  }

  async call<Body = { reason: string }>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = { sessionToken: this.token },
  ): Promise<Answer<Body>> {
    const response = await fetch(this.url + path, {
      method,
      headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = (response.headers.get('content-type') ?? '').includes('json');
    return {
      status: response.status,
      headers: response.headers,
      body: (json && text !== '' ? JSON.parse(text) : text) as Body,
    };
  }

  async startBackup(): Promise<DaemonStatus> {
    return (await this.call<DaemonStatus>('POST', '/repo/v1/startBackupDaemon', {})).body;
  }

  async status(id: string): Promise<DaemonStatus> {
    return (await this.call<DaemonStatus>('GET', `/repo/v1/daemonStatus/${id}`)).body;
  }

  /** Polls until the daemon has ended, or until it is as the condition wants it; gives all statuses seen. */
  async watch(id: string, until = (status: DaemonStatus) => hasEnded(status)): Promise<DaemonStatus[]> {
    const seen: DaemonStatus[] = [];
    for (;;) {
      const status = await this.status(id);
      seen.push(status);
      if (until(status) || hasEnded(status)) return seen;
      await sleep(50);
    }
  }

  async finished(id: string): Promise<DaemonStatus> {
    const last = (await this.watch(id)).at(-1);
    if (last === undefined) throw new Error(`no status of daemon ${id}`);
    return last;
  }

  /** All that the processes wrote, for the search for secrets. */
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

/** Counted in a file, because each test file has an environment of its own. */
export function nextRedisDatabase(): number {
  const file = join(servers.folder, 'redis-databases');
  const next = (existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0) + 1;
  writeFileSync(file, String(next));
  return next;
}
