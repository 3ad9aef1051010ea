/** The progress of a job. */
export interface Progress {
  /** The present activity, for people. */
  message: string;
  /** The work done, on the scale of `total`. */
  current: number;
  total: number;
}

/**
 * Reports progress, at any rate: the receiver decides how much of it leaves the process. Must not throw.
 */
export type ReportProgress = (progress: Progress) => void;

/** An archive that an attempt of a job began to write. A later attempt cleans it up. */
export interface StartedArchive {
  key: string;
  /** Missing if the attempt ended before the store had answered. */
  uploadId?: string;
}

/** A session with the repository that an attempt opened. A later attempt ends it, in case this one only seemed dead. */
export interface OpenedSession {
  /** Its application_name, unique to the attempt and recorded before the session was opened. */
  name: string;
  /** The id of a restore's transaction, recorded before it changed anything. */
  transaction?: string;
  /** The number of rows that a restore writes. */
  entities?: number;
}

/** A database that a recover builds. A later attempt drops it, unless it has its final name. */
export interface BuiltDatabase {
  /** Its temporary name, recorded before it was created. */
  name: string;
  /** Missing until it was created. */
  oid?: string;
}

/** The two databases of a swap by their names before it, and the new name and mark of the live one. */
export interface NotedSwap {
  live: { name: string; oid: number; owner: string };
  incoming: { name: string; oid: number };
  keptAs: string;
  mark: string;
}

/** The record of a database that a swap has kept. */
export interface KeptDatabase {
  /** Its present name. */
  name: string;
  /** Its name before the swap. */
  of: string;
  oid: number;
  owner: string;
  /** The first line of its comment. */
  mark: string;
}

/** The notes of an attempt for later attempts, in case it dies. */
export interface AttemptNotes {
  archives: readonly StartedArchive[];
  sessions: readonly OpenedSession[];
  /** The key of a complete safety archive. */
  safetyKey?: string;
  /** The database that a recover builds. */
  database?: BuiltDatabase;
  /** The swap that follows a recover, recorded before it begins. */
  swap?: NotedSwap;
}

/** The record of a job's run that outlives the process that runs it. */
export interface Journal {
  report: ReportProgress;
  /** Notes of this attempt and of earlier ones. */
  readonly notes: Readonly<AttemptNotes>;
  /** Replaces some of the notes; durable once it resolves. Fails if a later attempt has begun. */
  note(change: Partial<AttemptNotes>): Promise<void>;
  /** Whether a later attempt has begun because this one seemed dead. The objects that this one finds then belong to it. */
  isOvertaken(): Promise<boolean>;
}
