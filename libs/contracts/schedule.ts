/** What a run of a schedule does after its backup. */
export const AFTER_BACKUP = ['nothing', 'verify', 'restoreDrill'] as const;
export type AfterBackup = (typeof AFTER_BACKUP)[number];

/** How many archives are kept: the last ones, and the last one of so many days, weeks, months and years. */
export interface Retention {
  last?: number | undefined;
  daily?: number | undefined;
  weekly?: number | undefined;
  monthly?: number | undefined;
  yearly?: number | undefined;
}

/** What an administrator says of a schedule. */
export interface ScheduleRequest {
  pattern: string;
  timeZone: string;
  then: AfterBackup;
  retention: Retention | null;
  enabled: boolean;
}

/** A schedule as clients see it. Times are milliseconds since 1970. */
export interface ScheduleView extends ScheduleRequest {
  name: string;
  /** An administrator's email. */
  createdBy: string;
  createdOn: number;
  /** Null while it is not enabled. */
  nextRunOn: number | null;
  lastRun: {
    startedOn: number;
    /** The backup's; null until it is started. */
    daemonId: string | null;
    status: 'IN_PROGRESS' | 'COMPLETED' | 'FAILED';
    /** Why it failed, what it could not delete, and whether runs were skipped meanwhile. */
    errorMessage: string | null;
  } | null;
  lastCompletedOn: number | null;
  lastVerifiedOn: number | null;
}
