import { randomBytes } from 'node:crypto';
import type { AttemptNotes, OpenedSession, ReportProgress, StartedArchive } from '#contracts';

/** What of a daemon's run outlives the process that runs it. */
export interface Journal {
  report: ReportProgress;
  /** Of this attempt and of earlier ones. */
  readonly notes: Readonly<AttemptNotes>;
  /** Replaces some of the notes; durable once it resolves. Fails when a later attempt has begun. */
  note(change: Partial<AttemptNotes>): Promise<void>;
  /** Whether a later attempt has begun, because this one seemed dead: what it may have found is no longer ours. */
  isOvertaken(): Promise<boolean>;
}

/** Notes that an archive was begun, or the upload id of one that was. */
export function noteArchive(journal: Journal, archive: StartedArchive): Promise<void> {
  const others = journal.notes.archives.filter(({ key }) => key !== archive.key);
  return journal.note({ archives: [...others, archive] });
}

/**
 * A name for a session with the repository that no other one has, on record before the session is opened.
 * @param what such as "backup 7"
 */
export async function nameSession(journal: Journal, what: string): Promise<string> {
  const name = `snapshotd ${what} ${randomBytes(4).toString('hex')}`;
  await noteSession(journal, { name });
  return name;
}

/** Notes a session that is to be opened, or its transaction. */
export function noteSession(journal: Journal, session: OpenedSession): Promise<void> {
  const others = journal.notes.sessions.filter(({ name }) => name !== session.name);
  return journal.note({ sessions: [...others, session] });
}
