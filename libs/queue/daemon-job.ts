import type { Job, Queue } from 'bullmq';
import type { AttemptNotes, DaemonType, FullText, Progress } from '#contracts';

/** The queue of all daemons. */
export const DAEMON_QUEUE = 'daemons';

/** What a restore or a verification was asked to do. */
export interface ArchiveRequest {
  /** The archive's key in the bucket. */
  key: string;
  /** As the status shows it. */
  url: string;
  /** Leave tables alone that the archive does not hold, instead of refusing. */
  allowExtraTables?: boolean;
  /** Restore: make an archive of what is there first. */
  backupFirst?: boolean;
  /** Restore: only these tables, as "schema.table". */
  tables?: string[] | undefined;
  /** Restore: into other schemas than their own. */
  intoSchemas?: Record<string, string> | undefined;
  /** Restore: make the tables there. */
  create?: boolean | undefined;
  /** Verify: load the archive into scratch tables too. */
  restoreDrill?: boolean;
}

/** What was asked for. Only the API writes it; it holds no secrets. */
export interface DaemonJobData {
  /** The administrator's email. */
  startedBy: string;
  /** Milliseconds since 1970. */
  startedOn: number;
  /** For RESTORE and VERIFY. */
  archive?: ArchiveRequest;
  /** When it was told to end: milliseconds since 1970. */
  terminatedOn?: number;
  /** It was told to end while no worker had it, and was shown as ended since. */
  neverRuns?: boolean;
  /** Set until the API knows that the queue has it: whoever asked for it may have been told that nothing is started. */
  unconfirmed?: boolean;
  /** What it was started for, by a program that may ask again: see DaemonQueue.startMarked. */
  mark?: string;
  /** Of a start with an Idempotency-Key: tells the call that started it from those that found it there. */
  call?: string;
}

/** How far it is. Only the worker writes it. */
export interface DaemonJobProgress extends Progress {
  /** Which attempt wrote this, from 1. */
  attempt: number;
  /** How often the daemon had been taken over when that attempt began. */
  takeovers: number;
  notes: AttemptNotes;
  /** The URL of the complete safety archive. */
  safetyBackupUrl?: string;
  /** What those who may read rows see instead of the reason for which the attempt failed. */
  failure?: FullText & { reason: string };
}

/** What a completed daemon leaves. */
export interface DaemonJobResult {
  backupUrl: string;
  entities: number;
  /** The archive's length; missing where a dead attempt had done the work. */
  bytes?: number | undefined;
  /** What the archive of a backup does not hold, by name. */
  leftOut?: string[];
  safetyBackupUrl?: string;
}

export type DaemonJob = Job<DaemonJobData, DaemonJobResult, DaemonType, DaemonJobProgress>;
export type DaemonJobQueue = Queue<DaemonJobData, DaemonJobResult, DaemonType>;
