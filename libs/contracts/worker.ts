/** Identifies a database independently of its address. A replica and its former primary are the same. */
export interface DatabaseIdentity {
  /** The cluster's identifier, from initdb; null if the server refuses to tell. */
  systemIdentifier: string | null;
  databaseOid: number;
  /** For people only: a renamed database stays the same one. */
  databaseName: string;
}

/** The database that the workers of a queue work for. */
export interface RepositoryIdentity {
  /** Null until a worker has recorded it. */
  identity: DatabaseIdentity | null;
  /** Databases that the repository has moved away from, latest first. Their archives belong to it. */
  predecessors: DatabaseIdentity[];
  /** Milliseconds since 1970. */
  recordedOn: number | null;
  /** Why no worker trusts the record. */
  problem: string | null;
}

/** The kinds of remarks of a worker about itself. */
export type WorkerRemarkKind =
  'SUPERUSER' | 'MORE_RIGHTS' | 'BACKS_UP_ONLY' | 'POSTGRES_AWAY' | 'OTHER_DATABASE' | 'IDENTITY_UNKNOWN';

export interface WorkerRemark {
  kind: WorkerRemarkKind;
  /** A warning calls for action. */
  level: 'warning' | 'information';
  /** The fact, and the next step. */
  message: string;
}

/** A worker, as its heartbeat shows it. */
export interface WorkerView {
  id: string;
  host: string;
  version: string;
  /** Its role in PostgreSQL; null before its first connection. */
  role: string | null;
  superuser: boolean | null;
  /** The database of its REPOSITORY_URL; null before its first connection. */
  identity: DatabaseIdentity | null;
  takesJobs: boolean;
  warnings: WorkerRemark[];
  /** When it started, by its own clock: milliseconds since 1970. */
  since: number;
  /** When the API last saw its heartbeat change. */
  lastBeatOn: number;
}
