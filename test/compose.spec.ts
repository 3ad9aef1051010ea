import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { readSettings } from '#config';
import { openStore, servers } from './support/servers.js';

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
  volumes: Record<string, unknown>;
};
const { services } = compose;
const dockerfile = read('Dockerfile').split('\n');

/** What .env.example sets, with something in place of what it leaves to the reader. */
const dotEnv: Record<string, string> = Object.fromEntries(
  [...read('.env.example').matchAll(/^([A-Z0-9_]+)=(.*)$/gm)].map(([, name, value]) => [
    name,
    value || (name === 'SECRET_KEY' ? 'ab'.repeat(32) : 'filled-in'),
  ]),
);

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

function environmentOf(name: string): Record<string, string> {
  const entries = Object.entries(service(name).environment ?? {});
  return Object.fromEntries(entries.map(([key, value]) => [key, interpolate(value)]));
}

describe.each(['api', 'worker'])('the environment of the %s', (name) => {
  test('is complete and right, once .env.example is filled in', () => {
    const settings = readSettings(environmentOf(name));
    expect(settings.databaseUrl.reveal()).toBe('postgres://snapshotd:filled-in@postgres:5432/snapshotd');
    expect(settings.repository.url).toBe(settings.databaseUrl);
    expect(settings.queueUrl.reveal()).toBe('redis://redis:6379');
    expect(settings.store).toMatchObject({ endpoint: 'http://s3:8333', forcePathStyle: true });
  });

  test('names no variable that nobody reads', () => {
    const [, schema = ''] = /z\.object\(\{\n(.*?)\n\s*\}\);/s.exec(read('libs/config/settings.ts')) ?? [];
    const settings = [...schema.matchAll(/^ +([A-Z][A-Z0-9_]+):/gm)].map(([, key]) => key);
    expect(settings).toContain('DATABASE_URL');
    const known = [...settings, 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'];
    expect(Object.keys(environmentOf(name)).filter((key) => !known.includes(key))).toEqual([]);
  });
});

test('secrets come from .env alone, and stopping without them beats starting with weak ones', () => {
  for (const [name, { environment = {} }] of Object.entries(services))
    for (const [key, value] of Object.entries(environment))
      // Without WEBHOOK_URLS it has no use, and with them nothing starts without it.
      if (/PASSWORD|SECRET/.test(key) && key !== 'WEBHOOK_SECRET')
        expect({ name, key, value }).toMatchObject({ value: expect.stringMatching(/^\$\{\w+:\?/) });
});

test('Redis keeps its jobs over a restart and evicts none', () => {
  expect(service('redis').command.join(' ')).toBe(
    'redis-server --appendonly yes --maxmemory-policy noeviction',
  );
});

test('there are two workers, which write nothing to disk', () => {
  expect(service('worker')).toMatchObject({ deploy: { replicas: 2 }, read_only: true });
});

test('what is waited for exists, and can become what it is waited for to be', () => {
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
  expect(dockerfile.join('\n')).toMatch(/npm run build && rm -r dist\/libs\/embedded dist\/tools/);
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
