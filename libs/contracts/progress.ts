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
