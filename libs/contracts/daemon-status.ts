export const DAEMON_TYPES = ['BACKUP', 'RESTORE', 'VERIFY'] as const;
export type DaemonType = (typeof DAEMON_TYPES)[number];

export const DAEMON_STATES = ['STARTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED'] as const;
export type DaemonState = (typeof DAEMON_STATES)[number];

/**
 * What `daemonStatus` answers: one run of a background job as a client sees it. The field names, their order
 * and the triple s are a contract with existing clients.
 */
export interface DaemonStatus {
  id: string;
  type: DaemonType;
  status: DaemonState;
  /** One line that says what went wrong and what to do; null unless FAILED. */
  errorMessage: string | null;
  progresssMessage: string;
  /** Entities done, and in the last tenth the finishing work. */
  progresssCurrent: number;
  /** See {@link progressTotal}. */
  progresssTotal: number;
  /** The stack of the failure, preceded by the object store's own words where it was the one that failed. */
  errorDetails: string | null;
  /** Where the archive is: of a backup when it is COMPLETED and never before, of a restore and a verify always. */
  backupUrl: string | null;
  /** Milliseconds from `startedOn` until now, or until the end. */
  totalTimeMS: number;
  /** The email of the administrator who started it. */
  startedBy: string;
  /** When it was asked for: milliseconds since 1970. */
  startedOn: number;
  /** Where the archive is that was made before a restore: only a daemon that was asked for one has this. */
  safetyBackupUrl?: string | null;
}
