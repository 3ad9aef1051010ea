/** How far a daemon is. */
export interface Progress {
  /** What is being done, for a person. */
  message: string;
  /** Done so far, on the scale of `total`. */
  current: number;
  total: number;
}

/**
 * Takes progress from the working code, as often as it likes: whoever is given it decides how much of it
 * leaves the process. Must not throw.
 */
export type ReportProgress = (progress: Progress) => void;

/** An archive that an attempt of a daemon began to write: what a later attempt has to look after. */
export interface StartedArchive {
  key: string;
  /** Missing where the attempt ended before the store had answered. */
  uploadId?: string;
}

/** A session in which an attempt of a restore wrote. */
export interface WritingSession {
  /** Its application_name, which no other session has. */
  name: string;
  /** Its transaction's id, on record before it changed anything. */
  transaction?: string;
  /** How many entities it restores. */
  entities?: number;
}

/** What attempts of a daemon leave for later ones, should they die. */
export interface AttemptNotes {
  archives: readonly StartedArchive[];
  sessions: readonly WritingSession[];
  /** The key of a safety archive that is complete. */
  safetyKey?: string;
}
