import { randomBytes } from 'node:crypto';
import { Failure } from '#common';
import type { Journal, OpenedSession, StartedArchive } from '#contracts';

/**
 * The archives that attempts of a job started. Their keys are checked, because the job deletes these objects and the
 * notes come from the queue.
 * @throws Failure NOT_AUTHENTIC for a key that no backup of this job has
 */
export function notedArchives(
  { notes }: Journal,
  daemonId: string,
  keyPrefix: string,
): readonly StartedArchive[] {
  const isOwn = (key: string) =>
    key.startsWith(keyPrefix) &&
    /^BackupDaemonJob(\d+)-\d+\.zip$/.exec(key.slice(keyPrefix.length))?.[1] === daemonId;
  for (const { key } of notes.archives) if (!isOwn(key)) throw notOwn(daemonId, `the archive ${key}`);
  return notes.archives;
}

/**
 * The sessions that attempts of a job opened. Their names are checked, because the job ends these sessions and the notes
 * come from the queue.
 * @throws Failure NOT_AUTHENTIC for a name that no session of this job has
 */
export function notedSessions({ notes }: Journal, daemonId: string): readonly OpenedSession[] {
  const isOwn = (name: string) =>
    /^snapshotd (?:backup|restore|verify|recover) (\d+) [0-9a-f]{8}$/.exec(name)?.[1] === daemonId;
  for (const { name } of notes.sessions) if (!isOwn(name)) throw notOwn(daemonId, `the session "${name}"`);
  return notes.sessions;
}

function notOwn(daemonId: string, what: string): Failure {
  return new Failure(
    'NOT_AUTHENTIC',
    'permanent',
    `The notes of job ${daemonId} name ${what}, which belongs to another job. snapshotd leaves it alone.`,
    {
      hint: 'Check who can write to the queue, and whether S3_PREFIX was changed. Then start the job again.',
    },
  );
}

/** Notes that an archive was started, or the id of its upload. */
export function noteArchive(journal: Journal, archive: StartedArchive): Promise<void> {
  const others = journal.notes.archives.filter(({ key }) => key !== archive.key);
  return journal.note({ archives: [...others, archive] });
}

/**
 * Chooses a unique name for a session with the repository, and notes it before the session is opened.
 * @param what such as "backup 7"
 */
export async function nameSession(journal: Journal, what: string): Promise<string> {
  const name = `snapshotd ${what} ${randomBytes(4).toString('hex')}`;
  await noteSession(journal, { name });
  return name;
}

/** Notes a session that is about to be opened, or its transaction. */
export function noteSession(journal: Journal, session: OpenedSession): Promise<void> {
  const others = journal.notes.sessions.filter(({ name }) => name !== session.name);
  return journal.note({ sessions: [...others, session] });
}
