import type { OmittedThings } from './omission.js';

export const DAEMON_TYPES = ['BACKUP', 'RESTORE', 'VERIFY'] as const;
export type DaemonType = (typeof DAEMON_TYPES)[number];

export const DAEMON_STATES = ['STARTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED'] as const;
export type DaemonState = (typeof DAEMON_STATES)[number];

/**
 * The answer of `daemonStatus`: one run of a job. The field names, their order and the triple s are a contract with
 * existing clients.
 */
export interface DaemonStatus {
  id: string;
  type: DaemonType;
  status: DaemonState;
  /** One line with the failure and the next step; null unless FAILED. */
  errorMessage: string | null;
  progresssMessage: string;
  /** Rows done, and in the last tenth the finishing work. */
  progresssCurrent: number;
  /** The rows and a tenth more: see progressTotal in libs/common. */
  progresssTotal: number;
  /** The stack of the failure. If the object store failed, its own words come first. */
  errorDetails: string | null;
  /** The URL of the archive. A backup has it once it is COMPLETED, a restore and a verification always. */
  backupUrl: string | null;
  /** Milliseconds from `startedOn` until now, or until the end. */
  totalTimeMS: number;
  /** The email of the administrator who started it. */
  startedBy: string;
  /** When it was requested: milliseconds since 1970. */
  startedOn: number;
  /** The URL of the archive that a restore with `backupFirst` made first. */
  safetyBackupUrl?: string | null;
  /** The contents that the archive omits, by kind. Missing if it omits nothing. */
  omissions?: OmittedThings[];
  /** Sentences. Missing if there is none. */
  warnings?: string[];
}
