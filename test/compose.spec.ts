import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import pg from 'pg';
import { parse } from 'yaml';
import { readSettings, scopeOf } from '#config';
import type { DaemonStatus, WorkerView } from '#contracts';
import { EmbeddedPostgres, freePort, REDIS_RIGHTS, ServerProcess, startApp } from '../dev/index.js';
import { nextRedisDatabase, Stack } from './support/stack.js';
import { openStore, servers, sql } from './support/servers.js';

interface Service {
  image?: string;
  build?: string;
  command: string[];
  environment?: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  volumes?: string[];
  read_only?: boolean;
  deploy?: { replicas: number };
}

const ROOT = join(__dirname, '..');
const read = (name: string) => readFileSync(join(ROOT, name), 'utf8');

const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, Service>;
  configs: Record<string, { content?: string; file?: string }>;
  volumes: Record<string, unknown>;
};
const { services } = compose;
const dockerfile = read('Dockerfile').split('\n');

/** The output of the command in .env.example. */
const dotEnv: Record<string, string> = (() => {
  const [command = ''] = /while[^]*?> \.env$/m.exec(read('.env.example').replace(/^# ?/gm, '')) ?? [];
  const made = execFileSync('bash', ['-c', command.replace(/> \.env$/, '')], { cwd: ROOT, encoding: 'utf8' });
  return Object.fromEntries(
    [...made.matchAll(/^([A-Z0-9_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
  );
})();

function service(name: string): Service {
  const found = services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

/** Puts the variables in as Compose does: ${NAME:?message} and ${NAME:-default}. */
function interpolate(text: string): string {
  return text.replace(/\$\{(\w+):([?-])([^}]*)\}/g, (_all, name: string, sign: string, rest: string) => {
    const value = dotEnv[name];
    if (value === undefined && sign === '?') throw new Error(`${name} is not in .env.example: ${rest}`);
    return value ?? rest;
  });
}

function contentOf(name: string): string {
  return interpolate(compose.configs[name]?.content ?? '');
}

function environmentOf(name: string): Record<string, string> {
  const entries = Object.entries(service(name).environment ?? {});
  return Object.fromEntries(entries.map(([key, value]) => [key, interpolate(value)]));
}

test('the S3 server has an account for each, which reaches the one bucket only', () => {
  // The form of https://github.com/seaweedfs/seaweedfs/wiki/Amazon-S3-API
  const { identities } = JSON.parse(contentOf('s3')) as {
    identities: {
      name: string;
      credentials: { accessKey: string; secretKey: string }[];
      actions: string[];
    }[];
  };
  const { S3_BUCKET: bucket } = environmentOf('api');
  const uses = { api: 'api', worker: 'worker', admin: 'bucket' };
  expect(identities.map(({ name }) => name)).toEqual(Object.keys(uses));
  for (const { name, credentials, actions } of identities) {
    const env = environmentOf(uses[name as keyof typeof uses]);
    expect(credentials).toEqual([
      { accessKey: env['AWS_ACCESS_KEY_ID'], secretKey: env['AWS_SECRET_ACCESS_KEY'] },
    ]);
    expect(actions).toEqual(
      name === 'admin' ? ['Admin'] : ['Read', 'List', 'Write'].map((action) => `${action}:${bucket}`),
    );
  }
  // All else that the server opens knows no accounts.
  const { command } = service('s3');
  expect(command).toEqual(expect.arrayContaining(['-s3.config=/etc/s3.json', '-ip=127.0.0.1']));
  expect(command.filter((option) => option.includes('bind'))).toEqual(['-s3.ip.bind=0.0.0.0']);
});

test('a worker backs up the default repository, and all schemas of another database', () => {
  const scope = (more: object) => readSettings({ ...environmentOf('worker'), ...more }).repository.scope;
  expect(scope({})).toEqual(scopeOf(['repository']));
  expect(scope({ REPOSITORY_URL: 'postgres://user:password@host/shop' })).toEqual(scopeOf('*'));
});

describe.each(['api', 'worker'])('the environment of the %s', (name) => {
  test('is complete and right, once .env.example is filled in', () => {
    const settings = readSettings(environmentOf(name));
    const password = (server: string) => dotEnv[`${server}_${name.toUpperCase()}_PASSWORD`] ?? '';
    expect(password('POSTGRES')).toMatch(/^[0-9a-f]{48}$/);
    expect(settings.databaseUrl.reveal()).toBe(
      `postgres://snapshotd_${name}:${password('POSTGRES')}@postgres:5432/snapshotd`,
    );
    expect(settings.queueUrl.reveal()).toBe(`redis://${name}:${password('REDIS')}@redis:6379`);
    expect(settings.trustProxy).toBe(false);
    expect(environmentOf(name)).toMatchObject({
      AWS_ACCESS_KEY_ID: name,
      AWS_SECRET_ACCESS_KEY: password('S3'),
    });
    expect(settings.store).toMatchObject({ endpoint: 'http://s3:8333', forcePathStyle: true });
  });

  test('names only variables that are read', () => {
    const [, schema = ''] = /z\.object\(\{\n(.*?)\n\s*\}\);/s.exec(read('libs/config/settings.ts')) ?? [];
    const settings = [...schema.matchAll(/^ +([A-Z][A-Z0-9_]+):/gm)].map(([, key]) => key);
    expect(settings).toContain('DATABASE_URL');
    const known = [...settings, 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'];
    expect(Object.keys(environmentOf(name)).filter((key) => !known.includes(key))).toEqual([]);
  });
});

test('no secret is shared, and the API is not told where the repository is', () => {
  const secrets = Object.entries(dotEnv).filter(([name]) => /PASSWORD|SECRET/.test(name));
  expect(new Set(secrets.map(([, value]) => value)).size).toBe(secrets.length);
  expect(environmentOf('worker')).toHaveProperty('REPOSITORY_URL');
  expect(environmentOf('api')).not.toHaveProperty('REPOSITORY_URL');
  expect(environmentOf('bucket')).not.toHaveProperty('SECRET_KEY');
  for (const name of ['api', 'worker', 'bucket']) {
    const others = secrets.filter(
      ([key]) => !key.includes(name.toUpperCase()) && !/^(SECRET_KEY|ADMIN_|S3_ADMIN)/.test(key),
    );
    for (const [key, value] of others)
      expect({ name, key, given: JSON.stringify(environmentOf(name)).includes(value) }).toMatchObject({
        given: false,
      });
  }
});

test('secrets come from .env alone, and stopping without them beats starting with weak ones', () => {
  for (const [name, { environment = {} }] of Object.entries(services))
    for (const [key, value] of Object.entries(environment))
      // Without WEBHOOK_URLS it has no use, and with them nothing starts without it.
      if (/PASSWORD|SECRET/.test(key) && key !== 'WEBHOOK_SECRET')
        expect({ name, key, value }).toMatchObject({ value: expect.stringMatching(/^\$\{\w+:\?/) });
});

test('Redis keeps its jobs over a restart and evicts none', () => {
  expect(service('redis').command).toEqual(['redis-server', '/etc/redis.conf']);
  expect(contentOf('redis')).toMatch(/^appendonly yes\nmaxmemory-policy noeviction$/m);
});

test('there are two workers, which write nothing to disk', () => {
  expect(service('worker')).toMatchObject({ deploy: { replicas: 2 }, read_only: true });
});

test('every dependency exists and can reach the state that its dependents wait for', () => {
  for (const [name, { depends_on = {} }] of Object.entries(services))
    for (const [other, { condition }] of Object.entries(depends_on)) {
      expect(Object.keys(services)).toContain(other);
      const healthy = condition === 'service_healthy';
      expect({ name, other, hasCheck: service(other).healthcheck !== undefined }).toEqual({
        name,
        other,
        hasCheck: healthy,
      });
    }
});

test('every volume in use is declared', () => {
  const used = Object.values(services).flatMap(({ volumes = [] }) =>
    volumes.map((volume) => volume.split(':')[0]),
  );
  expect(used.toSorted()).toEqual(Object.keys(compose.volumes).toSorted());
});

test('every image is either built here or of a fixed major version', () => {
  const bases = dockerfile.flatMap((line) => /^FROM (\S+)/.exec(line)?.[1] ?? []);
  const pulled = Object.values(services).flatMap(({ build, image }) => (build === undefined ? [image] : []));
  expect(bases).toHaveLength(2);
  expect(pulled).toHaveLength(3);
  for (const image of [...bases, ...pulled]) expect(image).toMatch(/^[\w./-]+:\d+/);
});

test('the image ends without development packages, embedded servers and root', () => {
  const final = dockerfile.slice(dockerfile.findLastIndex((line) => line.startsWith('FROM ')));
  expect(final.join('\n')).toContain('npm ci --omit=dev --ignore-scripts');
  expect(final.filter((line) => line.startsWith('COPY --from=build'))).toEqual([
    'COPY --from=build /app/dist/libs dist/libs',
    'COPY --from=build /app/dist/apps dist/apps',
  ]);
  expect(final.filter((line) => /^(USER|CMD)/.test(line))).toEqual([
    'USER node',
    'CMD ["node", "dist/apps/api/main.js"]',
  ]);
});

test('the build sees every file that the image copies', () => {
  const seen = read('.dockerignore')
    .split('\n')
    .flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []));
  const copied = dockerfile.flatMap((line) => /^COPY (?!--)(.*) \S+$/.exec(line)?.[1]?.split(' ') ?? []);
  expect([...new Set(copied)].toSorted()).toEqual(seen.toSorted());
});

test('the bucket is created where it is missing, and left alone where it is there', async () => {
  const [program = '', ...args] = service('bucket').command;
  expect(program).toBe('node');
  const bucket = 'made-by-compose';
  const env = {
    ...environmentOf('bucket'),
    ...servers.s3.credentials,
    S3_ENDPOINT: servers.s3.endpoint,
    S3_BUCKET: bucket,
  };
  const store = openStore(servers.s3, { bucket });
  const check = () => store.check(new AbortController().signal);
  await expect(check()).rejects.toMatchObject({ code: 'STORE_BUCKET_MISSING' });
  for (let run = 1; run <= 2; run++) {
    // Not with execFileSync: the S3 server lives in this process.
    await promisify(execFile)(process.execPath, args, { cwd: ROOT, env });
    await expect(check()).resolves.toBeUndefined();
  }
  store.close();
});

/** The URL of a role or a user of .env at another place. */
function moved(url: string | undefined, host: string, database?: string): string {
  const there = new URL(url ?? '');
  there.host = host;
  if (database !== undefined) there.pathname = `/${database}`;
  return there.href;
}

(servers.redis ? describe : describe.skip)('the API and a worker as Compose runs them', () => {
  let postgres: EmbeddedPostgres;
  let redis: ServerProcess;
  let stack: Stack;
  let host: string;
  let redisHost: string;
  const apiUrl = () => moved(environmentOf('api')['DATABASE_URL'], host);
  const workerUrl = () => moved(environmentOf('worker')['DATABASE_URL'], host);

  beforeAll(async () => {
    const folder = join(servers.folder, `compose-${randomBytes(4).toString('hex')}`);
    mkdirSync(folder, { mode: 0o711 });
    postgres = await EmbeddedPostgres.start({ folder: join(folder, 'postgres'), durable: false });
    host = `127.0.0.1:${postgres.port}`;
    await runRolesScript();
    const port = await freePort();
    redisHost = `127.0.0.1:${port}`;
    redis = await ServerProcess.start({
      name: 'redis-server',
      command: 'redis-server',
      args: ['-'],
      input: `bind 127.0.0.1\nport ${port}\ndir ${folder}\n${contentOf('redis')}`,
      logFile: join(folder, 'redis.log'),
      pidFile: join(folder, 'redis.pid'),
      stopSignal: 'SIGTERM',
    });
    await redis.ready(() => asRedis(redisUrl('api'), (client) => client.ping()));
    stack = await Stack.start({ workers: 0, env: envOf('api') });
    stack.workers.push(
      await startApp({
        app: 'worker',
        dist: 'dist',
        folder: stack.folder,
        env: { ...stack.env, ...envOf('worker') },
      }),
    );
  });
  afterAll(async () => {
    await stack?.stop();
    await redis?.stop();
    await postgres?.stop();
  });

  /** As PostgreSQL's image runs it: by psql, with PGOPTIONS. */
  async function runRolesScript(): Promise<void> {
    const { file = '' } = compose.configs['roles'] ?? {};
    const client = new pg.Client({
      connectionString: postgres.url(),
      options: environmentOf('postgres')['PGOPTIONS'],
    });
    await client.connect();
    await client.query(read(file)).finally(() => client.end());
  }

  function redisUrl(name: string): string {
    return moved(environmentOf(name)['QUEUE_URL'], redisHost);
  }

  function envOf(name: string): Record<string, string> {
    const { DATABASE_URL: database, SECRET_KEY: key = '' } = environmentOf(name);
    return {
      SECRET_KEY: key,
      DATABASE_URL: moved(database, host),
      QUEUE_URL: redisUrl(name),
      BACKUP_DEFINITIONS: 'auto',
    };
  }

  async function asRedis<Result>(url: string, work: (client: Redis) => Promise<Result>): Promise<Result> {
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return await work(client);
    } finally {
      client.disconnect();
    }
  }

  async function run(type: string, body: object): Promise<DaemonStatus> {
    const { body: started } = await stack.call<DaemonStatus>('POST', `/repo/v1/start${type}Daemon`, body);
    return stack.finished(started.id);
  }

  test('back up, restore and drill, and the worker has nothing to warn of', async () => {
    await sql(workerUrl(), "INSERT INTO repository.principal (name) VALUES ('p')");
    const { backupUrl: url, ...backup } = await run('Backup', {});
    expect(backup).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    await sql(workerUrl(), 'DELETE FROM repository.principal');
    for (const [type, more] of [
      ['Restore', { backupFirst: true }],
      ['Verify', { restoreDrill: true }],
      ['Restore', { intoSchemas: { repository: 'beside' }, create: true }],
    ] as const)
      expect(await run(type, { url, ...more })).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await sql(workerUrl(), 'SELECT name FROM repository.principal')).toEqual([{ name: 'p' }]);
    const { body } = await stack.call<{ workers: WorkerView[] }>('GET', '/repo/v1/workers');
    expect(body.workers).toMatchObject([{ role: 'snapshotd_worker', superuser: false, warnings: [] }]);
  });

  test.each([
    'SELECT FROM snapshotd.account',
    'SELECT FROM snapshotd.session',
    'INSERT INTO snapshotd.audit_event (account) VALUES (1)',
    'CREATE TABLE snapshotd.mine ()',
    'CREATE TABLE public.mine ()',
    'SET ROLE snapshotd_api',
    'SET ROLE snapshotd',
    'CREATE ROLE other',
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('/etc/passwd')",
    'ALTER DATABASE snapshotd SET search_path TO public',
    'ALTER ROLE snapshotd_api PASSWORD NULL',
  ])('the worker may not: %s', async (statement) => {
    await expect(sql(workerUrl(), statement)).rejects.toMatchObject({ code: '42501' });
  });

  test.each([
    'SELECT FROM repository.principal',
    'DELETE FROM repository.principal',
    'SET ROLE snapshotd',
    'CREATE ROLE other',
    'CREATE DATABASE other',
    "COPY (SELECT 1) TO PROGRAM 'true'",
    'CREATE TABLE public.mine ()',
  ])('the API may not: %s', async (statement) => {
    await expect(sql(apiUrl(), statement)).rejects.toMatchObject({ code: '42501' });
  });

  test('refuses all other credentials', async () => {
    await sql(postgres.url(), "CREATE ROLE stranger LOGIN PASSWORD 'x'");
    await expect(sql(postgres.urlOf('stranger', 'x'), 'SELECT')).rejects.toMatchObject({ code: '42501' });
    const socket = connect(Number(redisHost.split(':')[1]), '127.0.0.1');
    socket.write('PING\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    // For which the health check looks.
    expect(answer.toString()).toMatch(/^-NOAUTH/);
    expect(service('redis').healthcheck?.test.join(' ')).toContain('NOAUTH');
    await expect(asRedis(`redis://api:wrong@${redisHost}`, (client) => client.ping())).rejects.toThrow();
  });

  test('a worker reaches no other queue than those of jobs and workers, and neither of both the server', async () => {
    const denied = /NOPERM/;
    await asRedis(redisUrl('worker'), async (client) => {
      for (const key of ['snapshotd:schedules:x', 'snapshotd:notifications:x', 'other'])
        await expect(client.set(key, '1')).rejects.toThrow(denied);
    });
    for (const name of ['api', 'worker'])
      await asRedis(redisUrl(name), async (client) => {
        await expect(client.set('other', '1')).rejects.toThrow(denied);
        for (const command of [
          'FLUSHALL',
          'CONFIG GET *',
          'SHUTDOWN NOSAVE',
          'ACL LIST',
          'MONITOR',
          'KEYS *',
        ]) {
          const [word = '', ...args] = command.split(' ');
          await expect(client.call(word, ...args)).rejects.toThrow(denied);
        }
      });
    // npm start has the same users.
    for (const [name, rights] of Object.entries(REDIS_RIGHTS))
      expect(contentOf('redis')).toMatch(
        new RegExp(`^user ${name} on >\\w+ ${rights.replace(/[*+]/g, '\\$&')}$`, 'm'),
      );
  });

  test('an installation that ran as a superuser becomes one with roles', async () => {
    const database = 'older';
    await postgres.createDatabase(database);
    const older = await Stack.start({ env: { DATABASE_URL: postgres.url(database) } });
    await sql(postgres.url(database), "INSERT INTO repository.principal (name) VALUES ('before')");
    await older.stop();
    const script = read(compose.configs['roles']?.file ?? '');
    const options = environmentOf('postgres')['PGOPTIONS'];
    for (let times = 0; times < 2; times++) {
      const client = new pg.Client({ connectionString: postgres.url(database), options });
      await client.connect();
      await client.query(script).finally(() => client.end());
    }
    const own = (name: string) => moved(environmentOf(name)['DATABASE_URL'], host, database);
    const since = await Stack.start({
      queueUrl: servers.redis,
      workers: 0,
      env: { DATABASE_URL: own('api'), S3_PREFIX: `older-${nextRedisDatabase()}/` },
    });
    const env = { ...since.env, DATABASE_URL: own('worker') };
    since.workers.push(await startApp({ app: 'worker', dist: 'dist', folder: since.folder, env }));
    const { backupUrl: url } = await since.finished((await since.startBackup()).id);
    await sql(own('worker'), 'DELETE FROM repository.principal');
    const { body } = await since.call<DaemonStatus>('POST', '/repo/v1/startRestoreDaemon', { url });
    expect(await since.finished(body.id)).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await sql(own('worker'), 'SELECT name FROM repository.principal')).toEqual([{ name: 'before' }]);
    await since.stop();
  });
});
