import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import type { DaemonStatus } from '#contracts';
import { apiReady, Client, freePort, type ServerProcess, startApp, startServers } from '../../dev/index.js';
import type { Rig } from './rig.js';

const DIST = join(__dirname, '..', '..');

/** How often to poll a job's status: measured times are too long by up to this, and polling costs time too. */
const POLL_EVERY_MS = 100;

export interface DeploymentOptions {
  /** Distinguishes the deployments of a run. */
  name: string;
  /** The database of the accounts, and of the repository unless that is elsewhere. */
  databaseUrl: string;
  repositoryUrl?: string;
  schema: string;
  /** The folder of the compiled version to start, if not this one. */
  dist?: string;
}

export interface Finished {
  /** From before the POST until COMPLETED was read. */
  seconds: number;
  /** Of the archive. */
  key: string;
}

/** A queue, the API and one worker with the default settings, driven over HTTP. */
export class Deployment {
  private worker: ServerProcess | undefined;
  private workers = 0;

  private constructor(
    readonly url: string,
    readonly client: Client,
    private readonly folder: string,
    private readonly env: Record<string, string>,
    private readonly dist: string,
    private readonly running: { stop(): Promise<void> }[],
  ) {}

  /** Starts everything but a worker: the API creates the tables, which can then be filled. */
  static async start(rig: Rig, options: DeploymentOptions): Promise<Deployment> {
    const { name, databaseUrl, repositoryUrl, schema, dist = DIST } = options;
    const folder = join(rig.folder, name);
    const given = { DATABASE_URL: databaseUrl, S3_ENDPOINT: rig.s3.endpoint };
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const running: { stop(): Promise<void> }[] = [];
    const queue = await startServers({ folder, env: given, durable: false });
    running.push(queue);
    const env = {
      ...given,
      ...queue.env,
      ...(repositoryUrl !== undefined && { REPOSITORY_URL: repositoryUrl }),
      REPOSITORY_SCHEMAS: schema,
      S3_BUCKET: rig.bucket.name,
      ...rig.s3.credentials,
      PORT: String(port),
      HOST: '127.0.0.1',
      ADMIN_EMAIL: rig.administrator.email,
      ADMIN_PASSWORD: rig.administrator.password,
    };
    try {
      const api = await startApp({ app: 'api', dist, folder, env });
      running.push(api);
      await apiReady(api, url);
      const client = new Client(url);
      await client.login(rig.administrator);
      return new Deployment(url, client, folder, env, dist, running);
    } catch (error) {
      for (const part of running.toReversed()) await part.stop();
      throw error;
    }
  }

  /** Replaces the worker by a new one and waits until that takes jobs. */
  async freshWorker(): Promise<void> {
    await this.worker?.stop();
    const name = `worker-${++this.workers}`;
    const worker = await startApp({
      app: 'worker',
      name,
      dist: this.dist,
      folder: this.folder,
      env: this.env,
    });
    this.worker = worker;
    await worker.logs('The worker takes');
  }

  /** Makes a backup. @param onStarted called with the job's id */
  async backup(onStarted: (id: string) => void = () => {}): Promise<Finished> {
    const began = performance.now();
    const started = await this.client.startBackup();
    onStarted(started.id);
    return this.completed(started, began);
  }

  async restore(key: string): Promise<Finished> {
    const began = performance.now();
    return this.completed(await this.client.startRestore(key), began);
  }

  /** The worker's peak resident memory in bytes: proc(5), VmHWM. */
  workerPeak(): number {
    const status = readFileSync(`/proc/${this.worker?.pid}/status`, 'utf8');
    const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
    if (kibibytes === undefined) throw new Error("There is no VmHWM in the worker's /proc/<pid>/status");
    return Number(kibibytes) * 1024;
  }

  async stop(): Promise<void> {
    await this.worker?.stop();
    for (const part of this.running.toReversed()) await part.stop();
  }

  private async completed(started: DaemonStatus, began: number): Promise<Finished> {
    const status = await this.client.finished(started.id, POLL_EVERY_MS);
    const seconds = (performance.now() - began) / 1000;
    if (status.status !== 'COMPLETED' || status.backupUrl === null)
      throw new Error(`The ${status.type} failed: ${status.errorMessage}\n${status.errorDetails}`);
    return { seconds, key: basename(status.backupUrl) };
  }
}
