import type { Job, Queue } from 'bullmq';
import type { DaemonType, Progress, StartedArchive } from '#contracts';

/** The queue of all daemons. */
export const DAEMON_QUEUE = 'daemons';

/** What was asked for. Only the API writes it; it holds no secrets. */
export interface DaemonJobData {
  /** The administrator's email. */
  startedBy: string;
  /** Milliseconds since 1970. */
  startedOn: number;
}

/** How far it is. Only the worker writes it. */
export interface DaemonJobProgress extends Progress {
  /** Which attempt wrote this, from 1. */
  attempt: number;
  archives: StartedArchive[];
}

/** What a completed daemon leaves. */
export interface DaemonJobResult {
  backupUrl: string;
  entities: number;
}

export type DaemonJob = Job<DaemonJobData, DaemonJobResult, DaemonType, DaemonJobProgress>;
export type DaemonJobQueue = Queue<DaemonJobData, DaemonJobResult, DaemonType>;
