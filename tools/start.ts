import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { apiReady, claimFolder, type ServerProcess, startApp, startServers } from '../dev/index.js';
import { watchSources } from './watch.js';

const DIST = join(__dirname, '..');
const FOLDER = resolve('.data');
const SECRETS_OF_THE_API = [
  'ADMIN_EMAIL',
  'ADMIN_PASSWORD',
  'METRICS_TOKEN',
  'WEBHOOK_URLS',
  'WEBHOOK_SECRET',
  'DEADMAN_URL',
  'TLS_CERT_FILE',
  'TLS_KEY_FILE',
];
const withWorker = !process.argv.includes('--no-worker');
const watches = process.argv.includes('--watch');
const say = (text: string) => process.stdout.write(`${text}\n`);

/** Runs everything on a folder that stays, until it is told to stop. */
async function start(): Promise<void> {
  const stopped = new Promise<string>((tell) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => tell(signal));
  });
  mkdirSync(FOLDER, { recursive: true });
  // PostgreSQL may have to run as another user, who must be able to enter but not to look around.
  chmodSync(FOLDER, 0o711);

  const release = claimFolder(FOLDER);
  const running: { stop(): Promise<void> }[] = [];
  try {
    const servers = await startServers({
      folder: FOLDER,
      env: process.env,
      durable: true,
      rolesScript: join(DIST, '..', 'deploy', 'postgres-roles.sql'),
      ports: {
        postgres: port('POSTGRES_PORT'),
        redis: port('REDIS_PORT'),
        s3: port('S3_PORT') ?? rememberedS3Port(),
      },
    });
    running.push(servers);
    if (servers.s3) writeFileSync(join(FOLDER, 's3-port'), new URL(servers.s3.endpoint).port);

    const administrator = rememberedAdministrator();
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      ...servers.env,
      PORT: process.env['PORT'] || '8080',
      HOST: process.env['HOST'] || '127.0.0.1',
    };
    const envOf: Record<'api' | 'worker', NodeJS.ProcessEnv> = {
      api: {
        ...env,
        ...servers.accounts.api,
        ADMIN_EMAIL: administrator.email,
        ADMIN_PASSWORD: administrator.password,
      },
      worker: { ...env, ...servers.accounts.worker },
    };
    // No API connects to a repository, and no worker logs anybody in or tells anybody of what has ended.
    delete envOf.api['REPOSITORY_URL'];
    for (const name of SECRETS_OF_THE_API) delete envOf.worker[name];
    const scheme = process.env['TLS_CERT_FILE'] ? 'https' : 'http';
    const url = `${scheme}://127.0.0.1:${env['PORT']}`;
    const apps = new Apps(envOf, scheme === 'http' ? url : undefined);
    running.push(apps);
    await apps.start();

    say(`snapshotd is at      ${url}`);
    say(`the console is at    ${url}/admin`);
    say(`administrator        ${administrator.email}`);
    say(`password             ${administrator.password}`);
    say(`data and logs        ${FOLDER}`);
    say(`in use               ${described(servers)}`);
    if (!withWorker) {
      say('No worker was started. One of your own needs:');
      for (const [name, value] of Object.entries({ ...servers.env, ...servers.accounts.worker }))
        say(`  export ${name}='${value}'`);
    }
    say('Ctrl-C stops it.');

    if (watches) {
      const stopWatching = watchSources(say, () => apps.restart());
      running.push({ stop: () => Promise.resolve(stopWatching()) });
    }
    const reason = await Promise.race([stopped, ...(watches ? [] : [apps.ended()])]);
    say(`\n${reason}: stopping ...`);
    if (!reason.startsWith('SIG')) process.exitCode = 1;
  } finally {
    for (const part of running.toReversed()) await part.stop();
    release();
  }
  say('Stopped.');
}

/** The API and the worker, as processes of their own. */
class Apps {
  private running: ServerProcess[] = [];

  /** @param url of the API, to wait for it; missing if its certificate cannot be checked */
  constructor(
    private readonly envOf: Record<'api' | 'worker', NodeJS.ProcessEnv>,
    private readonly url: string | undefined,
  ) {}

  async start(): Promise<void> {
    for (const app of withWorker ? (['api', 'worker'] as const) : (['api'] as const))
      this.running.push(await startApp({ app, dist: DIST, folder: FOLDER, env: this.envOf[app] }));
    const [api] = this.running;
    if (api !== undefined && this.url !== undefined) await apiReady(api, this.url);
  }

  /** Restarts both. If one does not start, the next change may mend it. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start().then(
      () => say('Restarted.'),
      (error: unknown) => say(error instanceof Error ? error.message : String(error)),
    );
  }

  async stop(): Promise<void> {
    for (const app of this.running.splice(0).toReversed()) await app.stop();
  }

  /** Resolves when one of them ends by itself, and says so. */
  ended(): Promise<string> {
    return Promise.race(
      this.running.map(async (app, index) => {
        await app.ended();
        const name = index === 0 ? 'API' : 'worker';
        return `The ${name} ended by itself; its log ends with:\n${app.logTail()}\n`;
      }),
    );
  }
}

/** The S3 server's address is part of every backupUrl, so that it must stay. */
function rememberedS3Port(): number | undefined {
  const file = join(FOLDER, 's3-port');
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
}

/** Generated once and kept for later starts, for the present user's eyes only. */
function rememberedAdministrator(): { email: string; password: string } {
  const { ADMIN_EMAIL: email, ADMIN_PASSWORD: password } = process.env;
  if (email && password) return { email, password };
  const file = join(FOLDER, 'administrator.json');
  if (!existsSync(file)) {
    const generated = { email: 'admin@example.org', password: randomBytes(15).toString('base64url') };
    writeFileSync(file, JSON.stringify(generated), { mode: 0o600 });
  }
  return JSON.parse(readFileSync(file, 'utf8')) as { email: string; password: string };
}

function port(name: string): number | undefined {
  return process.env[name] ? Number(process.env[name]) : undefined;
}

function described({ postgres, redis, s3 }: Awaited<ReturnType<typeof startServers>>): string {
  const own = (name: string) => `${name} as set`;
  return [
    postgres ? 'embedded PostgreSQL' : own('DATABASE_URL'),
    s3 ? 'embedded S3' : own('S3_ENDPOINT'),
    redis
      ? 'private redis-server'
      : process.env['QUEUE_URL']
        ? own('QUEUE_URL')
        : "BullMQ's PostgreSQL backend",
  ].join(', ');
}

start().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
