import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { scopeOf, tablePattern } from './scope.js';
import { Secret } from './secret.js';
import { environment, readSettings, SettingsError } from './settings.js';

const KEY = 'ab'.repeat(32);
const MINIMAL = {
  SECRET_KEY: KEY,
  DATABASE_URL: 'postgres://user:pass%20word@db.example.org/app',
  QUEUE_URL: 'redis://:queue-pass@redis:6379',
  S3_BUCKET: 'archives',
};

function faultsOf(env: NodeJS.ProcessEnv): string[] {
  try {
    readSettings(env);
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.faults;
    throw error;
  }
}

/** The default that docs/configuration.md gives for each setting. */
function listedDefaults(): Map<string, string> {
  const page = readFileSync(join(__dirname, '../../docs/configuration.md'), 'utf8');
  const rows = page.matchAll(/^\| `([A-Z0-9_]+)` *\| (.*?) *\| .*\|$/gm);
  return new Map([...rows].map(([, name = '', cell = '']) => [name, cell]));
}

test('docs/configuration.md lists every setting with its default, and no other', () => {
  const listed = listedDefaults();
  expect([...listed.keys()].sort()).toEqual(Object.keys(environment.shape).sort());
  for (const [name, type] of Object.entries(environment.shape)) {
    const { success, data } = type.safeParse(undefined);
    // SECRET_KEY_FILE may replace SECRET_KEY.
    const required = !success || name === 'SECRET_KEY' || name === 'SECRET_KEY_FILE';
    const words = [data].flat().join();
    const unset = words === '' || data === false;
    // A default is in backquotes, and so is another setting that takes the place of one that is unset.
    const pattern = required
      ? 'required'
      : unset
        ? '(?!required)(`[A-Z0-9_]+`|[^`]+( `[A-Z0-9_]+`.*)?)'
        : `\`${words}\``;
    expect(`${name}: ${listed.get(name)}`).toMatch(new RegExp(`^${name}: ${pattern}$`));
  }
});

test('the defaults of all settings together', () => {
  const settings = readSettings(MINIMAL);
  expect(settings).toMatchObject({
    port: 8080,
    host: '0.0.0.0',
    trustProxy: false,
    repository: { scope: scopeOf(['repository']) },
    store: {
      prefix: '',
      forcePathStyle: false,
      checksums: 'when_supported',
      region: 'us-east-1',
      maxParts: 10_000,
      partBytes: 8_388_608,
    },
    workerConcurrency: 1,
    daemonHistory: { count: 1_000, days: 90 },
    backup: { compressionLevel: 1 },
    logLevel: 'info',
  });
  expect(settings.repository.url.reveal()).toBe(MINIMAL.DATABASE_URL);
  expect([settings.tls, settings.firstAdministrator, settings.store.endpoint]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test('DRILL_URL is a secret, from its variable or from a file', () => {
  const url = 'postgres://drill:pass@db.example.org/postgres';
  const DRILL_URL_FILE = join(mkdtempSync(join(tmpdir(), 'drill-')), 'url');
  writeFileSync(DRILL_URL_FILE, `${url}\n`);
  for (const more of [{ DRILL_URL: url }, { DRILL_URL_FILE }]) {
    const { drill } = readSettings({ ...MINIMAL, ...more });
    expect(drill.url?.reveal()).toBe(url);
    expect(inspect(drill)).not.toContain('pass');
  }
  expect(readSettings(MINIMAL).drill).toEqual({ url: undefined, asSuperuser: false });
  expect(faultsOf({ ...MINIMAL, DRILL_URL: url, DRILL_URL_FILE })).toEqual([
    'DRILL_URL and DRILL_URL_FILE are both set: remove one of them',
  ]);
  writeFileSync(DRILL_URL_FILE, 'pass');
  expect(faultsOf({ ...MINIMAL, DRILL_URL_FILE }).join()).toMatch(/^DRILL_URL_FILE must be a URL such as/);
});

test('BASE_PATH and the endpoint for browsers end without a slash', () => {
  const { basePath, store } = readSettings({
    ...MINIMAL,
    BASE_PATH: '/nightly/backups/',
    S3_PUBLIC_ENDPOINT: 'https://s3.example.org/',
  });
  expect([basePath, store.publicEndpoint]).toEqual(['/nightly/backups', 'https://s3.example.org']);
  expect([readSettings(MINIMAL).basePath, readSettings({ ...MINIMAL, BASE_PATH: '/' }).basePath]).toEqual([
    '',
    '',
  ]);
  for (const path of ['backups', '//host', '/a//b', '/a b', '/..', '/a?b', '/"x'])
    expect(faultsOf({ ...MINIMAL, BASE_PATH: path })).toEqual(['BASE_PATH must be a path such as /backups']);
});

test('an endpoint other than AWS changes the defaults of path style and checksums', () => {
  expect(readSettings({ ...MINIMAL, S3_ENDPOINT: 'https://s3.example.org/' }).store).toMatchObject({
    endpoint: 'https://s3.example.org',
    forcePathStyle: true,
    checksums: 'when_required',
  });
  expect(
    readSettings({
      ...MINIMAL,
      S3_ENDPOINT: 'https://s3.example.org',
      S3_FORCE_PATH_STYLE: 'false',
      S3_CHECKSUMS: 'when_supported',
    }).store,
  ).toMatchObject({ forcePathStyle: false, checksums: 'when_supported' });
});

test.each([
  ['a, b ,a', ['a', 'b']],
  ['"a, b" , c', ['a, b', 'c']],
  ['"say ""x"", y",my"schema', ['say "x", y', 'my"schema']],
  ['" a"', [' a']],
])('REPOSITORY_SCHEMAS=%s names %j', (text, schemas) => {
  expect(readSettings({ ...MINIMAL, REPOSITORY_SCHEMAS: text }).repository.scope.schemas).toEqual(schemas);
});

test('a separate database is backed up whole, unless its schemas are listed', () => {
  const scopeWith = (env: NodeJS.ProcessEnv) => readSettings({ ...MINIMAL, ...env }).repository.scope;
  const REPOSITORY_URL = 'postgres://user:password@db.example.org/shop';
  expect(scopeWith({ REPOSITORY_URL }).schemas).toBe('*');
  expect(scopeWith({ REPOSITORY_SCHEMAS: ' * ' }).schemas).toBe('*');
  expect(scopeWith({ REPOSITORY_URL, REPOSITORY_SCHEMAS: 'a' }).schemas).toEqual(['a']);
  expect(
    scopeWith({
      EXCLUDE_SCHEMAS: 'tmp_*, "a,*"',
      EXCLUDE_TABLES: 'app.log_*,"a.b" . "x,y", *.t',
      EXCLUDE_TABLE_ROWS: 'app.t,app.t',
    }),
  ).toEqual({
    schemas: ['repository'],
    excludeSchemas: ['tmp_*', '"a,*"'],
    excludeTables: ['app.log_*', '"a.b" . "x,y"', '*.t'],
    excludeTableRows: ['app.t'],
  });
});

test.each([
  ['app.log_*', { schema: 'app', name: 'log\\_%' }],
  ['"a.b" . "x*""%"', { schema: 'a.b', name: 'x*"\\%' }],
  ['*.my"table', { schema: '%', name: 'my"table' }],
  ['a\\b.c', { schema: 'a\\\\b', name: 'c' }],
  ['app', undefined],
  ['a.b.c', undefined],
  ['.b', undefined],
])('the pattern %s of tables is %j for LIKE', (pattern, like) => {
  expect(tablePattern(pattern)).toEqual(like);
});

test('an empty variable counts as unset', () => {
  expect(
    readSettings({ ...MINIMAL, PORT: '', REPOSITORY_URL: '', ADMIN_EMAIL: '', ADMIN_PASSWORD: '' }).port,
  ).toBe(8080);
  expect(faultsOf({ ...MINIMAL, S3_BUCKET: '' })).toEqual([
    'S3_BUCKET is missing: set the bucket for archives',
  ]);
});

test('an empty environment names every required variable', () => {
  expect(faultsOf({}).map((fault) => fault.split(' ')[0])).toEqual([
    'DATABASE_URL',
    'QUEUE_URL',
    'S3_BUCKET',
    'SECRET_KEY',
  ]);
});

test.each([
  ['PORT', '80a', 'PORT must be a whole number from 0 to 65535'],
  [
    'DATABASE_URL',
    'mysql://host/db',
    'DATABASE_URL must be a URL such as postgres://user:password@host:5432/database',
  ],
  [
    'REPOSITORY_URL',
    'no url',
    'REPOSITORY_URL must be a URL such as postgres://user:password@host:5432/database',
  ],
  ['REPOSITORY_SCHEMAS', 'a,,b', 'REPOSITORY_SCHEMAS has an empty name between its commas'],
  [
    'REPOSITORY_SCHEMAS',
    'snapshotd_queue',
    'REPOSITORY_SCHEMAS names snapshotd_queue, where snapshotd keeps its own state; it cannot be part of a repository',
  ],
  ['REPOSITORY_SCHEMAS', 'pg_catalog', "REPOSITORY_SCHEMAS names PostgreSQL's own schema pg_catalog"],
  ['REPOSITORY_SCHEMAS', 'a, *', 'REPOSITORY_SCHEMAS has * beside names: set it to * alone, or to names'],
  ['EXCLUDE_SCHEMAS', 'a,,b', 'EXCLUDE_SCHEMAS has an empty name between its commas'],
  [
    'EXCLUDE_TABLES',
    'a.b,log',
    'EXCLUDE_TABLES holds log, which is not of the form schema.table: put names with dots in double quotes',
  ],
  ['S3_BUCKET', 'a/b', 'S3_BUCKET must be the name of a bucket, without a URL or a path'],
  ['S3_PREFIX', '/x', "S3_PREFIX must not start with / and may hold letters, digits and !-_.*'()/= only"],
  ['S3_PREFIX', 'a/../b', 'S3_PREFIX must not contain ..'],
  ['S3_PREFIX', 'a//b/', 'S3_PREFIX must not contain // or /./'],
  ['S3_PREFIX', 'a/./b/', 'S3_PREFIX must not contain // or /./'],
  ['S3_PREFIX', 'a\n/', "S3_PREFIX must not start with / and may hold letters, digits and !-_.*'()/= only"],
  ['S3_PREFIX', 'a\x7f/', "S3_PREFIX must not start with / and may hold letters, digits and !-_.*'()/= only"],
  [
    'S3_PREFIX',
    'a'.repeat(901),
    'S3_PREFIX must have at most 900 characters, as S3 takes keys of 1024 bytes',
  ],
  ['S3_ENDPOINT', 'ftp://host', 'S3_ENDPOINT must be a URL such as https://s3.example.org'],
  [
    'S3_ENDPOINT',
    'https://user:pw@s3.example.org',
    'S3_ENDPOINT must hold no credentials, query or fragment',
  ],
  ['S3_CHECKSUMS', 'never', 'S3_CHECKSUMS must be when_supported or when_required'],
  [
    'TRUST_PROXY',
    'everyone',
    'TRUST_PROXY must be true, false, a number of proxies, or a comma-separated list of addresses and networks (10.0.0.0/8)',
  ],
  [
    'TRUST_PROXY',
    '10.0.0.0/40',
    'TRUST_PROXY must be true, false, a number of proxies, or a comma-separated list of addresses and networks (10.0.0.0/8)',
  ],
  ['ADMIN_EMAIL', 'nobody', 'ADMIN_EMAIL must be an email address'],
  [
    'TLS_CERT_FILE',
    '/no/such/file',
    "TLS_CERT_FILE cannot be read: ENOENT: no such file or directory, open '/no/such/file'",
  ],
  [
    'WORKER_REPOSITORIES',
    'crm, Shop',
    'WORKER_REPOSITORIES holds Shop, which is no name of a repository: a-z, 0-9, _ and -',
  ],
  ['WORKER_CONCURRENCY', '0', 'WORKER_CONCURRENCY must be a whole number from 1 to 64'],
  ['DAEMON_HISTORY_COUNT', '0', 'DAEMON_HISTORY_COUNT must be a whole number from 1 to 1000000'],
  ['DAEMON_HISTORY_DAYS', '0.5', 'DAEMON_HISTORY_DAYS must be a whole number from 1 to 36500'],
  ['BACKUP_COMPRESSION_LEVEL', '10', 'BACKUP_COMPRESSION_LEVEL must be a whole number from 0 to 9'],
  ['RETRY_SECONDS', '1.5', 'RETRY_SECONDS must be a whole number from 0 to 3600'],
  ['METRICS_TOKEN', 'short', 'METRICS_TOKEN must have at least 16 visible characters and no blanks'],
  [
    'WEBHOOK_URLS',
    'https://a.example.org,ftp://u:pw@b',
    'WEBHOOK_URLS must be http or https URLs, separated by commas',
  ],
  [
    'WEBHOOK_URLS',
    'https://a.example.org',
    'WEBHOOK_SECRET is missing: set both WEBHOOK_URLS and WEBHOOK_SECRET, or neither',
  ],
  ['WEBHOOK_SECRET', 'short', 'WEBHOOK_SECRET must have at least 16 visible characters and no blanks'],
  ['DEADMAN_URL', 'nowhere', 'DEADMAN_URL must be a URL such as https://hc-ping.com/your-uuid'],
  ['LOG_LEVEL', 'loud', 'LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent'],
])('%s=%s is refused', (name, value, fault) => {
  expect(faultsOf({ ...MINIMAL, [name]: value })).toContain(fault);
});

test.each([
  ['true', true],
  ['2', 2],
  ['10.0.0.0/8, ::1', '10.0.0.0/8, ::1'],
])('TRUST_PROXY=%s is understood', (value, meaning) => {
  expect(readSettings({ ...MINIMAL, TRUST_PROXY: value }).trustProxy).toEqual(meaning);
});

test('SNAPSHOT_LANES still sets BACKUP_JOBS, with a warning, but not to another value', () => {
  const { backup, warnings } = readSettings({ ...MINIMAL, SNAPSHOT_LANES: '3' });
  expect(backup.parallelJobs).toBe(3);
  expect(warnings).toContainEqual(expect.stringMatching(/^SNAPSHOT_LANES is now called BACKUP_JOBS/));
  expect(readSettings({ ...MINIMAL, SNAPSHOT_LANES: '3', BACKUP_JOBS: '3' }).backup.parallelJobs).toBe(3);
  expect(faultsOf({ ...MINIMAL, SNAPSHOT_LANES: '3', BACKUP_JOBS: '5' })).toEqual([
    'SNAPSHOT_LANES is the old name of BACKUP_JOBS, and they differ: remove SNAPSHOT_LANES',
  ]);
  const renamed = readSettings({ ...MINIMAL, BACKUP_JOBS: '5' });
  expect(renamed.backup.parallelJobs).toBe(5);
  expect(renamed.warnings.join()).not.toContain('SNAPSHOT_LANES');
});

test('WEBHOOK_URLS are separated by commas, and duplicates are dropped', () => {
  const urls = 'https://a.example.org/x, https://b.example.org,https://a.example.org/x';
  const { notifications } = readSettings({
    ...MINIMAL,
    WEBHOOK_URLS: urls,
    WEBHOOK_SECRET: '0123456789abcdef',
  });
  expect(notifications.webhooks.map((url) => url.reveal())).toEqual([
    'https://a.example.org/x',
    'https://b.example.org',
  ]);
});

test('logs and errors never show secrets', () => {
  const settings = readSettings({
    ...MINIMAL,
    ADMIN_EMAIL: 'a@example.org',
    ADMIN_PASSWORD: 'first-pass',
    METRICS_TOKEN: 'metrics-token-of-16',
    WEBHOOK_URLS: 'https://hook:hook-pass@example.org',
    WEBHOOK_SECRET: 'webhook-secret-of-16',
    DEADMAN_URL: 'https://example.org/dead-man',
  });
  const printed = [
    JSON.stringify(settings),
    inspect(settings, { depth: 9, showHidden: true }),
    String(settings.databaseUrl),
    `${settings.queueUrl.toString()}`,
  ].join();
  for (const secret of [
    'pass%20word',
    'queue-pass',
    'first-pass',
    'metrics-token',
    'hook-pass',
    'webhook-secret',
    'dead-man',
  ])
    expect(printed).not.toContain(secret);
  expect(new Secret('x').reveal()).toBe('x');
});

test('SECRET_KEY is 32 bytes, as text or in a file', () => {
  const without = { ...MINIMAL, SECRET_KEY: '' };
  expect(faultsOf(without)).toEqual([expect.stringMatching(/^SECRET_KEY is missing: set 32 random bytes/)]);
  const base64 = Buffer.alloc(32, 7).toString('base64');
  const file = join(mkdtempSync(join(tmpdir(), 'key-')), 'key');
  writeFileSync(file, `${base64}\n`);
  expect(readSettings({ ...without, SECRET_KEY_FILE: file }).secretKeys.map((key) => key.reveal())).toEqual([
    base64,
  ]);
  expect(faultsOf({ ...MINIMAL, SECRET_KEY_FILE: file })).toEqual([
    'SECRET_KEY and SECRET_KEY_FILE are both set: remove one of them',
  ]);
  writeFileSync(file, 'too short');
  expect(faultsOf({ ...without, SECRET_KEY_FILE: file })).toEqual([
    expect.stringMatching(/^SECRET_KEY_FILE names a file that must hold 32 random bytes/),
  ]);
});

test.each([
  '',
  'ab',
  'ab'.repeat(31),
  `${'ab'.repeat(32)}x`,
  'zz'.repeat(32),
  Buffer.alloc(31).toString('base64'),
])('%p is no key', (key) => {
  const name = key === '' ? 'SECRET_KEY is missing' : 'SECRET_KEY must be 32 random bytes';
  expect(faultsOf({ ...MINIMAL, SECRET_KEY: key })).toEqual([expect.stringContaining(name)]);
});

test('SECRET_KEY_PREVIOUS adds earlier keys after the present one', () => {
  const old = Buffer.alloc(32, 9).toString('base64');
  const { secretKeys } = readSettings({ ...MINIMAL, SECRET_KEY_PREVIOUS: `${old}, ${'cd'.repeat(32)}` });
  expect(secretKeys.map((key) => key.reveal())).toEqual([KEY, old, 'cd'.repeat(32)]);
  expect(faultsOf({ ...MINIMAL, SECRET_KEY_PREVIOUS: `${old},short` })).toHaveLength(1);
});
