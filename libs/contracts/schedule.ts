/** The steps of a scheduled run after its backup. */
export const AFTER_BACKUP = ['nothing', 'verify', 'restoreDrill'] as const;
export type AfterBackup = (typeof AFTER_BACKUP)[number];

/** The number of archives to keep: the last ones, and the last one of each day, week, month and year. */
export interface Retention {
  last?: number | undefined;
  daily?: number | undefined;
  weekly?: number | undefined;
  monthly?: number | undefined;
  yearly?: number | undefined;
}

/** A schedule, as an administrator sets it. */
export interface ScheduleRequest {
  pattern: string;
  timeZone: string;
  then: AfterBackup;
  retention: Retention | null;
  enabled: boolean;
}

/** A schedule with its state. Times are milliseconds since 1970. */
export interface ScheduleView extends ScheduleRequest {
  name: string;
  /** An administrator's email. */
  createdBy: string;
  createdOn: number;
  /** Null while it is disabled. */
  nextRunOn: number | null;
  lastRun: {
    startedOn: number;
    /** The id of the backup; null until it is started. */
    daemonId: string | null;
    status: 'IN_PROGRESS' | 'COMPLETED' | 'FAILED';
    /** Why it failed, which archives it could not delete, and whether runs were skipped meanwhile. */
    errorMessage: string | null;
  } | null;
  lastCompletedOn: number | null;
  lastVerifiedOn: number | null;
}
