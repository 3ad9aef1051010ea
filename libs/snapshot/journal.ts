import type { ReportProgress, StartedArchive } from '#contracts';

/** What of a daemon's run outlives the process that runs it. */
export interface Journal {
  report: ReportProgress;
  /** The archives that this daemon began, in this attempt and in earlier ones. */
  readonly archives: readonly StartedArchive[];
  /** Adds an archive, or the upload id of one that is there; durable once it resolves. */
  recordArchive(archive: StartedArchive): Promise<void>;
}
