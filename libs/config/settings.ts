import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { openConnections } from './open-connections.js';
import { isPostgresUrl, postgresUrl } from './postgres-url.js';
import {
  listedSchemas,
  listedTables,
  OWN_SCHEMAS,
  type Scope,
  schemaPattern,
  tablePattern,
  unquoted,
} from './scope.js';
import { Secret } from './secret.js';

/** Enough to reach the throughput of S3, without loading a server that others use. */
const DEFAULT_PARALLEL_JOBS = 4;

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

function urlWithScheme(schemes: string[], example: string) {
  return z
    .string()
    .refine(
      (text) => URL.canParse(text) && schemes.includes(new URL(text).protocol),
      `must be a URL such as ${example}`,
    );
}

function integer(min: number, max: number) {
  const fault = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d+$/, fault)
    .transform(Number)
    .refine((n) => n >= min && n <= max, fault);
}

const boolean = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true');

const file = z.string().transform((path, context) => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    context.addIssue({ code: 'custom', message: `cannot be read: ${(error as Error).message}` });
    return z.NEVER;
  }
});

/** `true`, a number of proxies, or addresses and networks, as Fastify's trustProxy takes them. */
const trustProxy = z
  .string()
  .refine(
    (text) => /^(true|false|\d+)$/.test(text) || text.split(',').every(isNetwork),
    'must be true, false, a number of proxies, or a comma-separated list of addresses and networks (10.0.0.0/8)',
  )
  .transform((text) =>
    text === 'true' || text === 'false' ? text === 'true' : /^\d+$/.test(text) ? Number(text) : text,
  );

function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.trim().split('/');
  const version = isIP(address);
  return (
    version !== 0 &&
    rest.length === 0 &&
    (bits === undefined || (/^\d+$/.test(bits) && +bits <= (version === 4 ? 32 : 128)))
  );
}

/** A list without repetitions, of which each element must be faultless. */
function listOf<Text extends string>(
  split: (text: string) => Text[],
  check: (element: Text) => string | undefined,
) {
  return z
    .string()
    .transform((text) => [...new Set(split(text))])
    .superRefine((elements, context) => {
      for (const element of elements) {
        const fault = element === '' ? 'has an empty name between its commas' : check(element);
        if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
      }
    });
}

const namedSchemas = listOf((text) => listedSchemas(text).map(unquoted), schemaNameFault);

const schemas = z.string().transform((text, context): Scope['schemas'] => {
  if (text.trim() === '*') return '*';
  if (listedSchemas(text).includes('*')) {
    context.addIssue({ code: 'custom', message: 'has * beside names: set it to * alone, or to names' });
    return z.NEVER;
  }
  const { data, error } = namedSchemas.safeParse(text);
  for (const { message } of error?.issues ?? []) context.addIssue({ code: 'custom', message });
  return data ?? z.NEVER;
});

/** As REPOSITORY_NAME of #contracts: the settings import no library. */
const REPOSITORY_NAME = /^[a-z0-9][a-z0-9_-]{0,39}$/;

const repositoryNames = listOf(
  (text) => text.split(',').map((name) => name.trim()),
  (name) =>
    REPOSITORY_NAME.test(name)
      ? undefined
      : `holds ${name}, which is no name of a repository: a-z, 0-9, _ and -`,
);

const schemaPatterns = listOf(listedSchemas, (pattern) =>
  schemaPattern(pattern) === '' ? 'has an empty name between its commas' : undefined,
);

const tablePatterns = listOf(listedTables, (pattern) =>
  tablePattern(pattern) === undefined
    ? `holds ${pattern}, which is not of the form schema.table: put names with dots in double quotes`
    : undefined,
);

/** Says why a schema cannot be backed up or restored into. @returns undefined if it can */
export function schemaNameFault(name: string): string | undefined {
  if (name === '' || name.includes('\0') || Buffer.byteLength(name) > 63)
    return `holds a name that is empty or over 63 bytes long: ${name}`;
  if (name.startsWith('pg_') || name === 'information_schema') return `names PostgreSQL's own schema ${name}`;
  if (Object.values<string>(OWN_SCHEMAS).includes(name))
    return `names ${name}, where snapshotd keeps its own state; it cannot be part of a repository`;
  return undefined;
}

const redisUrl = urlWithScheme(
  ['redis:', 'rediss:'],
  'redis://host:6379 or postgres://user:password@host:5432/database',
);

/** An origin, optionally with a path. It becomes part of every backupUrl. */
const endpoint = urlWithScheme(['http:', 'https:'], 'https://s3.example.org').refine(
  (text) => !/[@?#]/.test(text),
  'must hold no credentials, query or fragment',
);

function isWebUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/** The message shows no URL, because URLs may hold credentials. */
const webUrls = z
  .string()
  .transform((text) => [...new Set(text.split(',').map((url) => url.trim()))])
  .refine((urls) => urls.every(isWebUrl), 'must be http or https URLs, separated by commas');

const KEY_FAULT = 'must be 32 random bytes in base64 or hexadecimal digits: openssl rand -base64 32';

function isKey(text: string): boolean {
  return (
    /^[0-9a-f]{64}$/i.test(text) ||
    (/^[A-Za-z0-9+/]{43}=$/.test(text) && Buffer.from(text, 'base64').length === 32)
  );
}

/** Keys that SECRET_KEY has replaced, separated by commas. */
const previousKeys = z
  .string()
  .transform((text) => text.split(',').map((key) => key.trim()))
  .refine((keys) => keys.every(isKey), KEY_FAULT);

/** A secret for a header, too long to be guessed. */
const token = z
  .string()
  .regex(/^[\x21-\x7e]{16,}$/, 'must have at least 16 visible characters and no blanks');

/** All settings by the names of their variables. */
export const environment = z.object({
  PORT: integer(0, 65_535).default(8080),
  HOST: z.string().default('0.0.0.0'),
  TLS_CERT_FILE: file.optional(),
  TLS_KEY_FILE: file.optional(),
  TRUST_PROXY: trustProxy.default(false),
  BASE_PATH: z
    .string()
    .regex(/^(\/[\w~-][\w.~-]*)*\/?$/, 'must be a path such as /backups')
    .default(''),
  SECRET_KEY: z.string().refine(isKey, KEY_FAULT).optional(),
  SECRET_KEY_FILE: file
    .transform((text) => text.trim())
    .refine(isKey, `names a file that ${KEY_FAULT.replace('must be', 'must hold')}`)
    .optional(),
  SECRET_KEY_PREVIOUS: previousKeys.default([]),
  DATABASE_URL: postgresUrl,
  REPOSITORY_URL: postgresUrl.optional(),
  DRILL_URL: postgresUrl.optional(),
  DRILL_URL_FILE: file
    .transform((text) => text.trim())
    .pipe(postgresUrl)
    .optional(),
  DRILL_AS_SUPERUSER: boolean.default(false),
  REPOSITORY_SCHEMAS: schemas.optional(),
  EXCLUDE_SCHEMAS: schemaPatterns.default([]),
  EXCLUDE_TABLES: tablePatterns.default([]),
  EXCLUDE_TABLE_ROWS: tablePatterns.default([]),
  QUEUE_URL: z.string().transform((text, context) => {
    const { data, error } = (isPostgresUrl(text) ? postgresUrl : redisUrl).safeParse(text);
    for (const { message } of error?.issues ?? []) context.addIssue({ code: 'custom', message });
    return data ?? z.NEVER;
  }),
  S3_BUCKET: z
    .string()
    .regex(/^[A-Za-z0-9._-]{3,255}$/, 'must be the name of a bucket, without a URL or a path'),
  S3_PREFIX: z
    .string()
    .regex(/^(?!\/)[\w!.*'()/=-]*$/, "must not start with / and may hold letters, digits and !-_.*'()/= only")
    .refine((prefix) => !prefix.split('/').includes('..'), 'must not contain ..')
    .refine((prefix) => !/(^|\/)\.?\//.test(prefix), 'must not contain // or /./')
    .refine(
      (prefix) => prefix.length <= 900,
      'must have at most 900 characters, as S3 takes keys of 1024 bytes',
    )
    .default(''),
  S3_ENDPOINT: endpoint.optional(),
  S3_PUBLIC_ENDPOINT: endpoint.optional(),
  S3_FORCE_PATH_STYLE: boolean.optional(),
  S3_CHECKSUMS: z
    .enum(['when_supported', 'when_required'], 'must be when_supported or when_required')
    .optional(),
  S3_MAX_PARTS: integer(100, 10_000).default(10_000),
  // S3's own limits for parts.
  S3_PART_BYTES: integer(5 * 1024 ** 2, 5 * 1024 ** 3).default(8 * 1024 ** 2),
  AWS_REGION: z.string().default('us-east-1'),
  ADMIN_EMAIL: z.email('must be an email address').optional(),
  ADMIN_PASSWORD: z.string().min(8, 'must have at least 8 characters').optional(),
  WORKER_CONCURRENCY: integer(1, 64).default(1),
  WORKER_REPOSITORIES: repositoryNames.optional(),
  DAEMON_HISTORY_COUNT: integer(1, 1_000_000).default(1_000),
  DAEMON_HISTORY_DAYS: integer(1, 36_500).default(90),
  BACKUP_COMPRESSION_LEVEL: integer(0, 9).default(1),
  BACKUP_DEFINITIONS: z
    .enum(['auto', 'required', 'off'], 'must be auto, required or off')
    .default('required'),
  EXCLUDE_LARGE_OBJECTS: boolean.default(false),
  FAIL_ON_OMISSIONS: boolean.default(false),
  SHRINK_WARNING_PERCENT: integer(0, 100).default(50),
  BACKUP_JOBS: integer(1, 32).optional(),
  /** The old name of BACKUP_JOBS, accepted for one release. */
  SNAPSHOT_LANES: integer(1, 32).optional(),
  RETRY_SECONDS: integer(0, 3_600).default(60),
  REPOSITORY_LOCK_SECONDS: integer(1, 604_800).default(3_600),
  LOCK_WAIT_SECONDS: integer(1, 604_800).default(600),
  METRICS_TOKEN: token.optional(),
  WEBHOOK_URLS: webUrls.optional(),
  WEBHOOK_SECRET: token.optional(),
  DEADMAN_URL: z.string().refine(isWebUrl, 'must be a URL such as https://hc-ping.com/your-uuid').optional(),
  LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info'),
});

/** Pairs of variables of which both or none must be set. */
const PAIRS = [
  ['TLS_CERT_FILE', 'TLS_KEY_FILE'],
  ['ADMIN_EMAIL', 'ADMIN_PASSWORD'],
  ['WEBHOOK_URLS', 'WEBHOOK_SECRET'],
] as const;

/** Pairs of variables of which one must be set. */
const EITHER = [['SECRET_KEY', 'SECRET_KEY_FILE']] as const;

/** Pairs of variables of which at most one may be set. */
const AT_MOST_ONE = [...EITHER, ['DRILL_URL', 'DRILL_URL_FILE']] as const;

export type Settings = ReturnType<typeof readSettings>;
/** The token by which Nest injects the settings. */
export const SETTINGS = Symbol('SETTINGS');
export type LogLevel = Settings['logLevel'];

/** Lists every fault of the settings, one per line. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';

  constructor(readonly faults: string[]) {
    super(`The settings are wrong:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
  }
}

/**
 * Reads and checks all settings. Only this function reads them from the environment. An empty variable counts as unset,
 * because compose files and unit files leave them empty.
 * @throws SettingsError that lists every fault
 */
export function readSettings(env: NodeJS.ProcessEnv = process.env) {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = environment.safeParse(set);
  const faults = [
    ...(parsed.error?.issues.map((issue) => faultOf(issue, set)) ?? []),
    ...halfPairs(set),
    ...eitherFaults(set),
    ...doubleFaults(set),
    ...renamedFaults(set),
  ];
  if (!parsed.success || faults.length > 0) throw new SettingsError(faults);
  const value = parsed.data;
  const databaseUrl = new Secret(value.DATABASE_URL);
  const drillUrl = value.DRILL_URL ?? value.DRILL_URL_FILE;
  const retryForMs = value.RETRY_SECONDS * 1_000;
  return {
    port: value.PORT,
    host: value.HOST,
    tls:
      value.TLS_CERT_FILE !== undefined && value.TLS_KEY_FILE !== undefined
        ? { cert: value.TLS_CERT_FILE, key: new Secret(value.TLS_KEY_FILE) }
        : undefined,
    trustProxy: value.TRUST_PROXY,
    /** Without a trailing slash. */
    basePath: value.BASE_PATH.replace(/\/$/, ''),
    /** SECRET_KEY, then its predecessors. */
    secretKeys: [value.SECRET_KEY ?? value.SECRET_KEY_FILE ?? '', ...value.SECRET_KEY_PREVIOUS].map(
      (key) => new Secret(key),
    ),
    databaseUrl,
    queueUrl: new Secret(value.QUEUE_URL),
    repository: {
      url: value.REPOSITORY_URL === undefined ? databaseUrl : new Secret(value.REPOSITORY_URL),
      scope: {
        schemas: value.REPOSITORY_SCHEMAS ?? (value.REPOSITORY_URL === undefined ? ['repository'] : '*'),
        excludeSchemas: value.EXCLUDE_SCHEMAS,
        excludeTables: value.EXCLUDE_TABLES,
        excludeTableRows: value.EXCLUDE_TABLE_ROWS,
      } satisfies Scope,
      retryForMs,
      lockTimeoutMs: value.REPOSITORY_LOCK_SECONDS * 1_000,
    },
    drill: {
      url: drillUrl === undefined ? undefined : new Secret(drillUrl),
      asSuperuser: value.DRILL_AS_SUPERUSER,
    },
    store: storeOf(value),
    firstAdministrator:
      value.ADMIN_EMAIL !== undefined && value.ADMIN_PASSWORD !== undefined
        ? { email: value.ADMIN_EMAIL, password: new Secret(value.ADMIN_PASSWORD) }
        : undefined,
    workerConcurrency: value.WORKER_CONCURRENCY,
    /** The names of the repositories whose jobs a worker takes; undefined for all. */
    workerRepositories: value.WORKER_REPOSITORIES,
    daemonHistory: { count: value.DAEMON_HISTORY_COUNT, days: value.DAEMON_HISTORY_DAYS },
    /** The options of a backup, as the engine takes them. */
    backup: {
      compressionLevel: value.BACKUP_COMPRESSION_LEVEL,
      definitions: value.BACKUP_DEFINITIONS,
      excludeLargeObjects: value.EXCLUDE_LARGE_OBJECTS,
      failOnOmissions: value.FAIL_ON_OMISSIONS,
      lockWaitMs: value.LOCK_WAIT_SECONDS * 1_000,
      shrinkWarningPercent: value.SHRINK_WARNING_PERCENT,
      parallelJobs:
        value.BACKUP_JOBS ?? value.SNAPSHOT_LANES ?? Math.min(availableParallelism(), DEFAULT_PARALLEL_JOBS),
    },
    metricsToken: value.METRICS_TOKEN === undefined ? undefined : new Secret(value.METRICS_TOKEN),
    notifications: {
      webhooks: (value.WEBHOOK_URLS ?? []).map((url) => new Secret(url)),
      secret: value.WEBHOOK_SECRET === undefined ? undefined : new Secret(value.WEBHOOK_SECRET),
      deadman: value.DEADMAN_URL === undefined ? undefined : new Secret(value.DEADMAN_URL),
    },
    logLevel: value.LOG_LEVEL,
    /** Settings that work and that you should change: sentences for the log. */
    warnings: [
      ...openConnections(set),
      ...(value.SNAPSHOT_LANES === undefined
        ? []
        : [
            'SNAPSHOT_LANES is now called BACKUP_JOBS, and the next release ignores the old name. Rename it.',
          ]),
    ],
  };
}

type StoreVariable = Extract<keyof z.infer<typeof environment>, `S3_${string}`>;

/** The settings of the object store. */
export function storeOf(
  value: Pick<z.infer<typeof environment>, StoreVariable | 'AWS_REGION' | 'RETRY_SECONDS'>,
) {
  return {
    bucket: value.S3_BUCKET,
    prefix: value.S3_PREFIX,
    region: value.AWS_REGION,
    endpoint: value.S3_ENDPOINT?.replace(/\/+$/, ''),
    publicEndpoint: value.S3_PUBLIC_ENDPOINT?.replace(/\/+$/, ''),
    forcePathStyle: value.S3_FORCE_PATH_STYLE ?? value.S3_ENDPOINT !== undefined,
    checksums: value.S3_CHECKSUMS ?? (value.S3_ENDPOINT === undefined ? 'when_supported' : 'when_required'),
    maxParts: value.S3_MAX_PARTS,
    partBytes: value.S3_PART_BYTES,
    retryForMs: value.RETRY_SECONDS * 1_000,
  };
}

/** The value of each required variable. */
const MISSING: Record<string, string> = {
  SECRET_KEY:
    'set 32 random bytes that all APIs and workers share. Create them with: openssl rand -base64 32',
  DATABASE_URL:
    'set the PostgreSQL database for accounts, such as postgres://user:password@host:5432/database',
  QUEUE_URL: 'set the queue, such as redis://host:6379',
  S3_BUCKET: 'set the bucket for archives',
};

/** Says in one line what is wrong with a variable. */
export function faultOf(issue: z.core.$ZodIssue, set: Record<string, string | undefined>): string {
  const name = String(issue.path[0]);
  return set[name] === undefined
    ? `${name} is missing: ${MISSING[name] ?? 'it is required'}`
    : `${name} ${issue.message}`;
}

function halfPairs(set: Record<string, string | undefined>): string[] {
  return PAIRS.filter(([a, b]) => (set[a] === undefined) !== (set[b] === undefined)).map(
    ([a, b]) => `${set[a] === undefined ? a : b} is missing: set both ${a} and ${b}, or neither`,
  );
}

function eitherFaults(set: Record<string, string | undefined>): string[] {
  return EITHER.flatMap(([name, other]) =>
    set[name] === undefined && set[other] === undefined
      ? [`${name} is missing: ${MISSING[name] ?? 'it is required'}`]
      : [],
  );
}

function doubleFaults(set: Record<string, string | undefined>): string[] {
  return AT_MOST_ONE.filter(([name, other]) => set[name] !== undefined && set[other] !== undefined).map(
    ([name, other]) => `${name} and ${other} are both set: remove one of them`,
  );
}

function renamedFaults({
  BACKUP_JOBS: jobs,
  SNAPSHOT_LANES: lanes,
}: Record<string, string | undefined>): string[] {
  return jobs === undefined || lanes === undefined || jobs === lanes
    ? []
    : [`SNAPSHOT_LANES is the old name of BACKUP_JOBS, and they differ: remove SNAPSHOT_LANES`];
}
