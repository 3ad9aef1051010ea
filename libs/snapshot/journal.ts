import type { AttemptNotes, ReportProgress, StartedArchive, WritingSession } from '#contracts';

/** What of a daemon's run outlives the process that runs it. */
export interface Journal {
  report: ReportProgress;
  /** Of this attempt and of earlier ones. */
  readonly notes: Readonly<AttemptNotes>;
  /** Replaces some of the notes; durable once it resolves. */
  note(change: Partial<AttemptNotes>): Promise<void>;
}

/** Notes that an archive was begun, or the upload id of one that was. */
export function noteArchive(journal: Journal, archive: StartedArchive): Promise<void> {
  const others = journal.notes.archives.filter(({ key }) => key !== archive.key);
  return journal.note({ archives: [...others, archive] });
}

/** Notes that a session was opened for writing, or its transaction. */
export function noteSession(journal: Journal, session: WritingSession): Promise<void> {
  const others = journal.notes.sessions.filter(({ name }) => name !== session.name);
  return journal.note({ sessions: [...others, session] });
}
