import type { Job, Queue } from 'bullmq';
import { z } from 'zod';
import { type DaemonType, REPOSITORY_NAME, SWAP_OBSTACLES, VERIFICATION_LEVELS } from '#contracts';
import { repositoryCheck, restorePreview } from '#contracts/schemas';

/** The queue of all jobs but checks. */
export const DAEMON_QUEUE = 'daemons';

/**
 * The queue of the checks. It is a second one, so that a worker that is busy with a backup still takes them: BullMQ cannot
 * take some jobs of a queue only.
 */
export const CHECK_QUEUE = 'checks';

/** The archive of a restore or a verification, and the options. */
export const archiveRequest = z.strictObject({
  /** The archive's key in the bucket. */
  key: z.string(),
  /** As the status shows it. */
  url: z.string(),
  /** Leave tables that the archive does not hold unchanged, instead of refusing. */
  allowExtraTables: z.boolean().optional(),
  /** Accept columns that the archive does not hold: they get their defaults. */
  allowExtraColumns: z.boolean().optional(),
  /** Columns of the archive whose values are not restored, as "schema.table.column". */
  dropColumns: z.array(z.string()).optional(),
  /** Let event triggers fire on the statements of a restore. */
  fireEventTriggers: z.boolean().optional(),
  /** Accept an archive of another database. */
  otherDatabase: z.boolean().optional(),
  /** Restore: accept rows that violate checks and foreign keys, and reinstate these as NOT VALID. */
  keepViolations: z.boolean().optional(),
  /** Restore: remove large objects that the archive does not hold. */
  removeExtraLargeObjects: z.boolean().optional(),
  /** Restore: back up the present rows first. */
  backupFirst: z.boolean().optional(),
  /** Restore: only these tables, as "schema.table". */
  tables: z.array(z.string()).optional(),
  /** Restore: the other schema for tables of each schema. */
  intoSchemas: z.record(z.string(), z.string()).optional(),
  /** Restore: create the tables there. */
  create: z.boolean().optional(),
  /** Restore: recover into a new database of this name. */
  intoDatabase: z.string().optional(),
  /** Restore: swap the new database with the repository's. */
  swap: z.boolean().optional(),
  /** Restore: obstacles to the swap that are accepted, by name. */
  accept: z.array(z.enum(SWAP_OBSTACLES)).optional(),
  /** Restore into a database: see RoleOptions. */
  createRoles: z.boolean().optional(),
  privilegedRoles: z.boolean().optional(),
  noOwner: z.boolean().optional(),
  /** Verify: how much to prove. */
  level: z.enum(VERIFICATION_LEVELS).optional(),
  /** Verify, in jobs of 0.1.0, which name no level: true is DRILL, else FIT. */
  restoreDrill: z.boolean().optional(),
});

/** The archive of a restore or a verification, and the options. */
export type ArchiveRequest = z.infer<typeof archiveRequest>;

/** A stored repository, as its job needs it. Workers hold no list of repositories, and never connect to the accounts. */
export const jobRepository = z.strictObject({
  name: z.string().regex(REPOSITORY_NAME),
  /** Opens with SECRET_KEY. */
  sealedUrl: z.string(),
  sealedDrillUrl: z.string().optional(),
  scope: z.strictObject({
    schemas: z.union([z.literal('*'), z.array(z.string())]),
    excludeSchemas: z.array(z.string()),
    excludeTables: z.array(z.string()),
    excludeTableRows: z.array(z.string()),
  }),
  /** The folder of its archives below S3_PREFIX, such as "crm/". */
  prefix: z.string().regex(/^[\w][\w.()+-]*(\/[\w][\w.()+-]*)*\/$/),
  jobs: z.int().min(1).max(32).optional(),
  definitions: z.enum(['auto', 'required', 'off']).optional(),
});
export type JobRepository = z.infer<typeof jobRepository>;

/** The context in which a URL of a stored repository is sealed: it opens for this repository and purpose alone. */
export function sealedUrlContext(repository: string, what: 'url' | 'drill url'): string {
  return `${what} of the repository ${repository}`;
}

/** The range of a Date. */
const milliseconds = z.int().min(0).max(8.64e15);

/** The data of a job. A job with an option that this version does not know is refused. */
export const daemonJobData = z.strictObject({
  /** The administrator's email. */
  startedBy: z.string(),
  /** Milliseconds since 1970. */
  startedOn: milliseconds,
  /** The repository that it works on; missing for the one of the workers' settings. */
  repository: jobRepository.optional(),
  /** For RESTORE and VERIFY. A CHECK that has it previews a restore; without it, it checks the repository. */
  archive: archiveRequest.optional(),
  /** For BACKUP: the key of the newest archive whose loss of rows somebody has confirmed. */
  confirmedKey: z.string().optional(),
  /** For DROP: the name of a database that a swap has kept. */
  database: z.string().optional(),
  /** Random, so unique to a job even if a queue that lost its data assigns an id again. */
  nonce: z.string(),
  /** The purpose that a repeated call names again: see DaemonQueue.startMarked. */
  mark: z.string().optional(),
  /** When somebody terminated it: milliseconds since 1970. */
  terminatedOn: milliseconds.optional(),
  /** It was terminated while no worker had it, and a status has shown it as ended. */
  neverRuns: z.boolean().optional(),
  /**
   * Set until the API has signed it, which it does after the queue has answered. The caller may have been told that
   * nothing was started.
   */
  unconfirmed: z.literal(true).optional(),
  /** Proves that an API wrote all of this, for this job. */
  code: z.string().optional(),
});

/** The request. Only the API writes it. Its secrets are sealed. */
export type DaemonJobData = z.infer<typeof daemonJobData>;

/** What a job does. */
export type JobWork = Pick<DaemonJobData, 'repository' | 'archive' | 'confirmedKey' | 'database'>;

export const daemonJobProgress = z.strictObject({
  message: z.string(),
  current: z.number(),
  total: z.number(),
  /** Which attempt wrote this, from 1. */
  attempt: z.number(),
  /** The takeovers of the job before that attempt. */
  takeovers: z.number(),
  /** See AttemptNotes. */
  notes: z.strictObject({
    archives: z.array(z.strictObject({ key: z.string(), uploadId: z.string().exactOptional() })).readonly(),
    sessions: z
      .array(
        z.strictObject({
          name: z.string(),
          transaction: z.string().exactOptional(),
          entities: z.number().exactOptional(),
        }),
      )
      .readonly(),
    safetyKey: z.string().exactOptional(),
    database: z.strictObject({ name: z.string(), oid: z.string().exactOptional() }).exactOptional(),
    swap: z
      .strictObject({
        live: z.strictObject({ name: z.string(), oid: z.number(), owner: z.string() }),
        incoming: z.strictObject({ name: z.string(), oid: z.number() }),
        keptAs: z.string(),
        mark: z.string(),
      })
      .exactOptional(),
  }),
  /** The URL of the complete safety archive. */
  safetyBackupUrl: z.string().exactOptional(),
  /** The failure's full text for readers who may see rows; `reason` is the text for everybody. */
  failure: z.strictObject({ message: z.string(), details: z.string(), reason: z.string() }).exactOptional(),
  /** Proves that a worker wrote this, for this job. */
  code: z.string(),
});

/** The progress. Only the worker writes it. */
export type DaemonJobProgress = z.infer<typeof daemonJobProgress>;

export const daemonJobResult = z.strictObject({
  /** Null for DROP and CHECK. */
  backupUrl: z.string().nullable(),
  entities: z.number(),
  /** The archive's length; missing if a dead attempt had done the work. */
  bytes: z.number().optional(),
  /** The contents that the archive omits, by kind. */
  omissions: z
    .array(z.strictObject({ kind: z.string(), count: z.number(), what: z.string(), why: z.string() }))
    .optional(),
  /** Names of the objects that a restore could not reinstate exactly. In results of 0.1.0, also omissions of a backup. */
  leftOut: z.array(z.string()).optional(),
  /** The rows that a backup lacks compared with an earlier archive. */
  shrunk: z
    .strictObject({
      archive: z.string(),
      takenOn: milliseconds,
      total: z.strictObject({ before: z.number(), after: z.number() }).exactOptional(),
      tables: z.array(
        z.strictObject({ schema: z.string(), name: z.string(), before: z.number(), after: z.number() }),
      ),
    })
    .optional(),
  /** Sentences about the obstacles to a restore of a backup. */
  warnings: z.array(z.string()).optional(),
  /** The columns of a restore that got defaults or were dropped, a sentence for each table. */
  columns: z.array(z.string()).optional(),
  safetyBackupUrl: z.string().optional(),
  /** The name of the database that a restore has made. */
  database: z.string().optional(),
  /** The name that the repository's database has since a swap. */
  keptDatabase: z.string().optional(),
  /** The instant of the archive. */
  takenOn: milliseconds.optional(),
  /** What a verification has proven. */
  verification: z
    .strictObject({
      level: z.enum(VERIFICATION_LEVELS),
      durationMs: z.number().nullable(),
      proven: z.array(z.string()),
      notProven: z.array(z.string()),
    })
    .optional(),
  /** Of a CHECK. */
  check: repositoryCheck.optional(),
  restorePlan: restorePreview.optional(),
  /** By the worker's clock: milliseconds since 1970. */
  endedOn: milliseconds,
  /** Proves that a worker wrote this, for this job. */
  code: z.string(),
});

/** The result of a completed job. */
export type DaemonJobResult = z.infer<typeof daemonJobResult>;

export type DaemonJob = Job<DaemonJobData, DaemonJobResult, DaemonType, DaemonJobProgress>;
export type DaemonJobQueue = Queue<DaemonJobData, DaemonJobResult, DaemonType>;

/** A result before it is signed. */
export type DaemonResult = Omit<DaemonJobResult, 'endedOn' | 'code'>;
