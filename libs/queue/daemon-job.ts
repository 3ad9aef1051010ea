import type { Job, Queue } from 'bullmq';
import { z } from 'zod';
import type { DaemonType } from '#contracts';

/** The queue of all daemons. */
export const DAEMON_QUEUE = 'daemons';

const archiveRequest = z.strictObject({
  /** The archive's key in the bucket. */
  key: z.string(),
  /** As the status shows it. */
  url: z.string(),
  /** Leave tables alone that the archive does not hold, instead of refusing. */
  allowExtraTables: z.boolean().optional(),
  /** Let event triggers fire on the statements of a restore. */
  fireEventTriggers: z.boolean().optional(),
  /** Take an archive of another database. */
  otherDatabase: z.boolean().optional(),
  /** Restore: rows may violate checks and foreign keys, which then come back as NOT VALID. */
  keepViolations: z.boolean().optional(),
  /** Restore: make an archive of what is there first. */
  backupFirst: z.boolean().optional(),
  /** Restore: only these tables, as "schema.table". */
  tables: z.array(z.string()).optional(),
  /** Restore: into other schemas than their own. */
  intoSchemas: z.record(z.string(), z.string()).optional(),
  /** Restore: make the tables there. */
  create: z.boolean().optional(),
  /** Verify: load the archive into scratch tables too. */
  restoreDrill: z.boolean().optional(),
});

/** What a restore or a verification was asked to do. */
export type ArchiveRequest = z.infer<typeof archiveRequest>;

/** What a Date can hold. */
const milliseconds = z.int().min(0).max(8.64e15);

/** An option that this version does not know is refused with its job, not ignored. */
export const daemonJobData = z.strictObject({
  /** The administrator's email. */
  startedBy: z.string(),
  /** Milliseconds since 1970. */
  startedOn: milliseconds,
  /** For RESTORE and VERIFY. */
  archive: archiveRequest.optional(),
  /** Random: no two jobs have the same, whatever ids a queue that lost its data gives away again. */
  nonce: z.string(),
  /** What it was started for, by a program that may ask again: see DaemonQueue.startMarked. */
  mark: z.string().optional(),
  /** When it was told to end: milliseconds since 1970. */
  terminatedOn: milliseconds.optional(),
  /** It was told to end while no worker had it, and was shown as ended since. */
  neverRuns: z.boolean().optional(),
  /**
   * Set until the API has signed it: only then is it known that the queue has it. The caller may have been
   * told that nothing is started.
   */
  unconfirmed: z.literal(true).optional(),
  /** Proves that an API wrote all of this, for this job. */
  code: z.string().optional(),
});

/** What was asked for. Only the API writes it; it holds no secrets. */
export type DaemonJobData = z.infer<typeof daemonJobData>;

export const daemonJobProgress = z.strictObject({
  message: z.string(),
  current: z.number(),
  total: z.number(),
  /** Which attempt wrote this, from 1. */
  attempt: z.number(),
  /** How often the daemon had been taken over when that attempt began. */
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
  }),
  /** The URL of the complete safety archive. */
  safetyBackupUrl: z.string().exactOptional(),
  /** What those who may read rows see instead of the reason for which the attempt failed. */
  failure: z.strictObject({ message: z.string(), details: z.string(), reason: z.string() }).exactOptional(),
  /** Proves that a worker wrote this, for this job. */
  code: z.string(),
});

/** How far it is. Only the worker writes it. */
export type DaemonJobProgress = z.infer<typeof daemonJobProgress>;

export const daemonJobResult = z.strictObject({
  backupUrl: z.string(),
  entities: z.number(),
  /** The archive's length; missing where a dead attempt had done the work. */
  bytes: z.number().optional(),
  /** What the archive of a backup does not hold, by name. */
  leftOut: z.array(z.string()).optional(),
  /** What would hinder a restore of a backup, in sentences. */
  warnings: z.array(z.string()).optional(),
  safetyBackupUrl: z.string().optional(),
  /** By the worker's clock: milliseconds since 1970. */
  endedOn: milliseconds,
  /** Proves that a worker wrote this, for this job. */
  code: z.string(),
});

/** What a completed daemon leaves. */
export type DaemonJobResult = z.infer<typeof daemonJobResult>;

export type DaemonJob = Job<DaemonJobData, DaemonJobResult, DaemonType, DaemonJobProgress>;
export type DaemonJobQueue = Queue<DaemonJobData, DaemonJobResult, DaemonType>;

/** A result before it is signed. */
export type DaemonResult = Omit<DaemonJobResult, 'endedOn' | 'code'>;
