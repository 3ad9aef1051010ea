import { z } from 'zod';
import { count, text, time } from './fields.js';

export const databaseIdentity = z.strictObject({
  systemIdentifier: text.nullable().describe("The cluster's; null if PostgreSQL refuses to tell it."),
  databaseOid: count,
  /** For people only: a renamed database stays the same one. */
  databaseName: text,
});

/** Identifies a database independently of its address. A replica and its former primary are the same. */
export type DatabaseIdentity = z.infer<typeof databaseIdentity>;

export const repositoryIdentity = z.strictObject({
  identity: databaseIdentity.nullable().describe('Null until a worker has recorded it.'),
  /** Their archives belong to it. */
  predecessors: z.array(databaseIdentity).describe('The former databases of the repository, latest first.'),
  recordedOn: time.nullable(),
  problem: text.nullable().describe('Why no worker trusts the recorded identity.'),
});

/** The database that the workers of a queue work for. */
export type RepositoryIdentity = z.infer<typeof repositoryIdentity>;

const remark = z.strictObject({
  kind: z.enum([
    'SUPERUSER',
    'MORE_RIGHTS',
    'BACKS_UP_ONLY',
    'POSTGRES_AWAY',
    'OTHER_DATABASE',
    'IDENTITY_UNKNOWN',
  ]),
  /** A warning calls for action. */
  level: z.enum(['warning', 'information']),
  /** The fact, and the next step. */
  message: text,
});

/** A remark of a worker about itself. */
export type WorkerRemark = z.infer<typeof remark>;

export const databaseTarget = z.strictObject({
  host: text.describe('A host, or the folder of a Unix socket.'),
  port: count,
  database: text,
  user: text,
});

/** A PostgreSQL URL without its password. */
export type DatabaseTarget = z.infer<typeof databaseTarget>;

const pgDump = z.strictObject({
  version: text,
  source: z.enum(['PATH', 'bundled']),
});

/** The program that reads schema definitions. */
export type PgDumpView = z.infer<typeof pgDump>;

export const worker = z.strictObject({
  id: text,
  host: text,
  version: text,
  node: text.nullable().describe('The version of Node. Null for a worker of 0.1.0.'),
  pgDump: pgDump
    .nullable()
    .describe('Reads the schema definitions. Null until the worker has connected, and if no pg_dump can.'),
  jobs: z.array(text).describe('The ids of the jobs that it runs.'),
  concurrency: count
    .nullable()
    .describe('The number of jobs that it runs at once. Null for a worker of 0.1.0.'),
  repositories: z
    .array(text)
    .nullable()
    .describe('The repositories whose jobs it takes: WORKER_REPOSITORIES. Null if it takes those of all.'),
  target: databaseTarget.nullable().describe('Where its REPOSITORY_URL leads. Null for a worker of 0.1.0.'),
  role: text.nullable().describe('Its role in PostgreSQL; null until it has connected.'),
  superuser: z.boolean().nullable(),
  identity: databaseIdentity.nullable().describe('The database at its REPOSITORY_URL.'),
  takesJobs: z.boolean(),
  warnings: z.array(remark),
  /** When it started, by its own clock. */
  since: time,
  /** When the API last saw its heartbeat change. */
  lastBeatOn: time,
});

/** A worker, as its heartbeat shows it. */
export type WorkerView = z.infer<typeof worker>;

export const missingWorker = z.strictObject({
  id: text,
  host: text,
  version: text,
  /** By its own clock. */
  lastBeatOn: time,
});

/** A worker whose heartbeat has ended although nobody stopped it, and that no later worker has replaced. */
export type MissingWorker = z.infer<typeof missingWorker>;
