import { addAbortListener } from 'node:events';
import {
  type Chunk,
  CHUNK_BYTES,
  isConnectionShortage,
  joinSnapshot,
  Session,
  type Snapshot,
} from '#postgres';

/** The most locks of all sessions together: each locks every table, and PostgreSQL has memory for some thousands. */
const MAX_LOCKS = 5_000;
/** Fewer chunks than this are not worth another session. */
const MIN_CHUNKS_PER_SESSION = 4;
/** Locking and opening a table takes a session as long as reading this number of bytes. */
const OPENING_BYTES = 32 * 1024;

export interface ParallelSessionsOptions {
  url: string;
  applicationName: string;
  /** The session whose transaction exported the snapshot. It reads, too. */
  leader: Session;
  snapshot: Snapshot;
  /** The most sessions. */
  parallelJobs: number;
  chunks: Chunk[];
  /** The number of further contents that each take as long as a chunk of CHUNK_BYTES. */
  others: number;
  signal: AbortSignal;
}

/**
 * Runs work on several sessions that see one instant: the leader, and as many others as are useful and the server
 * accepts. All but the leader are closed at the end, and immediately when the signal is aborted.
 */
export async function withParallelSessions<Result>(
  { url, applicationName, leader, snapshot, parallelJobs, chunks, others, signal }: ParallelSessionsOptions,
  work: (sessions: Session[]) => Promise<Result>,
): Promise<Result> {
  const useful = Math.min(
    parallelJobs,
    usefulSessions(chunks, others),
    Math.floor(MAX_LOCKS / (snapshot.tables.length + 1)),
  );
  const sessions = [leader];
  using _listener = addAbortListener(signal, () => sessions.slice(1).forEach((session) => session.destroy()));
  try {
    for (let number = 2; number <= useful; number++) {
      const session = await openParallelSession({ url, applicationName, leader, signal }, number);
      if (session === undefined) break;
      sessions.push(session);
      if (!(await joinSnapshot(session, snapshot))) {
        sessions.pop();
        await session.close();
        break;
      }
    }
    return await work(sessions);
  } finally {
    await Promise.all(sessions.slice(1).map((session) => session.close()));
  }
}

/** Opens a further session of a job. @returns undefined if the server has no connection left */
export async function openParallelSession(
  {
    url,
    applicationName,
    leader,
    signal,
  }: Pick<ParallelSessionsOptions, 'url' | 'applicationName' | 'leader' | 'signal'>,
  number: number,
): Promise<Session | undefined> {
  const name = `${applicationName} session ${number}`;
  try {
    return await Session.open(url, { applicationName: name, signal, beside: leader });
  } catch (error) {
    if (isConnectionShortage(error)) return undefined;
    throw error;
  }
}

/** The number of sessions that can share the reading: sessions cannot share one COPY. */
function usefulSessions(chunks: Chunk[], others: number): number {
  const worths = chunks.map(({ table, blocks }) =>
    blocks !== undefined ? 1 : Math.max(0, table.bytes - OPENING_BYTES) / CHUNK_BYTES,
  );
  const all = worths.reduce((sum, worth) => sum + worth, others);
  const largest = worths.reduce((most, worth) => Math.max(most, worth), Math.min(1, others));
  if (largest === 0) return 1;
  return Math.min(Math.ceil(all / largest), 1 + Math.floor((all - largest) / MIN_CHUNKS_PER_SESSION));
}
