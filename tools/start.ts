import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { apiReady, claimFolder, type ServerProcess, startApp, startServers } from '../dev/index.js';
import { addExampleData, type ExampleData } from './example-data.js';
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
const withExampleData = process.argv.includes('--with-example-data');
const watches = process.argv.includes('--watch');
const EXAMPLE_DATA: Record<ExampleData, string> = {
  none: 'none; for 785 rows of example data: npm start -- --with-example-data',
  added: '785 rows of example data were added',
  there: 'the repository has rows',
};
const say = (text: string) => process.stdout.write(`${text}\n`);

/** Runs everything with data in ./.data until a signal stops it. */
async function start(): Promise<void> {
  const stopped = new Promise<string>((tell) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => tell(signal));
  });
  if (withExampleData && (process.env['DATABASE_URL'] || process.env['REPOSITORY_URL']))
    throw new Error(
      '--with-example-data fills the embedded database only. Unset DATABASE_URL and REPOSITORY_URL.',
    );
  mkdirSync(FOLDER, { recursive: true });
  // PostgreSQL may run as another user, who must be able to enter the folder.
  chmodSync(FOLDER, 0o711);

  const release = claimFolder(FOLDER);
  const running: { stop(): Promise<void> }[] = [];
  try {
    const servers = await startServers({
      folder: FOLDER,
      env: process.env,
      durable: true,
      onStart: (server) => say(`Starting ${server} ...`),
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
    // The API does not connect to a repository. The worker serves no logins and sends no notifications.
    delete envOf.api['REPOSITORY_URL'];
    for (const name of SECRETS_OF_THE_API) delete envOf.worker[name];
    const scheme = process.env['TLS_CERT_FILE'] ? 'https' : 'http';
    const url = `${scheme}://127.0.0.1:${env['PORT']}`;
    const apps = new Apps(envOf, scheme === 'http' ? url : undefined);
    running.push(apps);
    say(withWorker ? 'Starting the API and a worker ...' : 'Starting the API ...');
    await apps.start();
    const example =
      servers.postgres === undefined || process.env['REPOSITORY_URL']
        ? undefined
        : await addExampleData(servers.postgres.url(), withExampleData);

    say(`snapshotd is at      ${url}`);
    say(`the console is at    ${url}/admin`);
    say(`administrator        ${administrator.email}`);
    say(`password             ${administrator.password}`);
    say(`data and logs        ${FOLDER}`);
    say(`servers              ${described(servers)}`);
    if (servers.postgres) say(`database             psql ${servers.postgres.url()}`);
    if (example !== undefined) say(`rows                 ${EXAMPLE_DATA[example]}`);
    if (!withWorker) {
      say('No worker was started. Your own worker needs:');
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

/** The API and the worker as separate processes. */
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

  /** Restarts both. If one does not start, the next change may fix it. */
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

  /** Resolves when one of them ends unexpectedly, with the end of its log. */
  ended(): Promise<string> {
    return Promise.race(
      this.running.map(async (app, index) => {
        await app.ended();
        const name = index === 0 ? 'API' : 'worker';
        return `The ${name} ended unexpectedly. Its log ends with:\n${app.logTail()}\n`;
      }),
    );
  }
}

/** The port of the last start: every backupUrl contains it. */
function rememberedS3Port(): number | undefined {
  const file = join(FOLDER, 's3-port');
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
}

/** Generates the administrator once and keeps it in a file that only the present user can read. */
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
  const own = (name: string) => `your ${name}`;
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
