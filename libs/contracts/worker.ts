/** Which database it is, whatever address leads to it. A replica and the server it was promoted from are the same. */
export interface DatabaseIdentity {
  /** The cluster's, from initdb; null where the server refuses to tell. */
  systemIdentifier: string | null;
  databaseOid: number;
  /** For people: a database that is renamed stays the same one. */
  databaseName: string;
}

/** The database that the workers of a queue work for. */
export interface RepositoryIdentity {
  /** Null until a worker has recorded it. */
  identity: DatabaseIdentity | null;
  /** Databases that the repository has moved away from, the latest first. Their archives are its own. */
  predecessors: DatabaseIdentity[];
  /** Milliseconds since 1970. */
  recordedOn: number | null;
  /** Why no worker believes what is recorded. */
  problem: string | null;
}

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
