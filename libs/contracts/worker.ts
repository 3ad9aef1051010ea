import type { DatabaseIdentity } from './database-identity.js';

/** What a worker says of itself. */
export type WorkerRemarkKind =
  'SUPERUSER' | 'MORE_RIGHTS' | 'BACKS_UP_ONLY' | 'POSTGRES_AWAY' | 'OTHER_DATABASE' | 'IDENTITY_UNKNOWN';

export interface WorkerRemark {
  kind: WorkerRemarkKind;
  /** Whether somebody should do something about it. */
  level: 'warning' | 'information';
  /** What is so, and what to do. */
  message: string;
}

/** A worker as its heartbeat shows it. */
export interface WorkerView {
  id: string;
  host: string;
  version: string;
  /** Its role in PostgreSQL; null until it was connected. */
  role: string | null;
  superuser: boolean | null;
  /** Where its REPOSITORY_URL leads; null until it was connected. */
  identity: DatabaseIdentity | null;
  takesJobs: boolean;
  warnings: WorkerRemark[];
  /** When it was started, by its own clock: milliseconds since 1970. */
  since: number;
  /** When the API last saw its heartbeat change. */
  lastBeatOn: number;
}
