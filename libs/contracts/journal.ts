/** How far a daemon is. */
export interface Progress {
  /** What is being done, for a person. */
  message: string;
  /** Done so far, on the scale of `total`. */
  current: number;
  total: number;
}

/**
 * Takes progress from the working code, as often as it likes: the receiver decides how much of it
 * leaves the process. Must not throw.
 */
export type ReportProgress = (progress: Progress) => void;

/** An archive that an attempt of a daemon began to write: what a later attempt has to look after. */
export interface StartedArchive {
  key: string;
  /** Missing where the attempt ended before the store had answered. */
  uploadId?: string;
}

/** A session with the repository that an attempt opened: one that only seemed dead must not go on in it. */
export interface OpenedSession {
  /** Its application_name, which no other attempt's session has, on record before it was opened. */
  name: string;
  /** Of a restore: its transaction's id, on record before it changed anything. */
  transaction?: string;
  /** Of a restore: how many entities it restores. */
  entities?: number;
}

/** What attempts of a daemon leave for later ones, should they die. */
export interface AttemptNotes {
  archives: readonly StartedArchive[];
  sessions: readonly OpenedSession[];
  /** The key of a safety archive that is complete. */
  safetyKey?: string;
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
