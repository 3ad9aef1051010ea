import {
  type Chunk,
  CHUNK_BYTES,
  isConnectionShortage,
  joinSnapshot,
  Session,
  type Snapshot,
} from '#postgres';

/** In all parallelJobs: each lane locks every table, and PostgreSQL has room for some thousands of locks. */
const MAX_LOCKS = 5_000;
/** Fewer chunks than this are not worth a session of their own. */
const CHUNKS_PER_LANE = 4;
/** Every lane locks and opens every table, which takes as long as to read so many bytes. */
const OPENING_BYTES = 32 * 1024;

export interface ParallelSessionsOptions {
  url: string;
  applicationName: string;
  /** The session whose transaction exported the snapshot; the first lane. */
  leader: Session;
  snapshot: Snapshot;
  /** How many lanes at most. */
  parallelJobs: number;
  /** What there is to read. */
  chunks: Chunk[];
  signal: AbortSignal;
}

/**
 * Runs work on several sessions that see one instant: the leader, and others as far as they are of use and the
 * server lets them. All but the leader are closed at the end, at once when the signal says so.
 */
export async function withParallelSessions<Result>(
  { url, applicationName, leader, snapshot, parallelJobs, chunks, signal }: ParallelSessionsOptions,
  work: (sessions: Session[]) => Promise<Result>,
): Promise<Result> {
  const useful = Math.min(
    parallelJobs,
    usefulSessions(chunks),
    Math.floor(MAX_LOCKS / (snapshot.tables.length + 1)),
  );
  const sessions = [leader];
  const drop = () => sessions.slice(1).forEach((session) => session.destroy());
  signal.addEventListener('abort', drop, { once: true });
  try {
    for (let lane = 2; lane <= useful; lane++) {
      const session = await openParallelSession({ url, applicationName, leader, signal }, lane);
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
    signal.removeEventListener('abort', drop);
    await Promise.all(sessions.slice(1).map((session) => session.close()));
  }
}

/** Opens one of several sessions of a daemon. @returns undefined when the server lets in no more */
export async function openParallelSession(
  {
    url,
    applicationName,
    leader,
    signal,
  }: Pick<ParallelSessionsOptions, 'url' | 'applicationName' | 'leader' | 'signal'>,
  lane: number,
): Promise<Session | undefined> {
  const name = `${applicationName} lane ${lane}`;
  try {
    return await Session.open(url, { applicationName: name, signal, beside: leader });
  } catch (error) {
    if (isConnectionShortage(error)) return undefined;
    throw error;
  }
}

/** How many sessions can share the reading: what one COPY reads, no other session can. */
function usefulSessions(chunks: Chunk[]): number {
  const worths = chunks.map(({ table, blocks }) =>
    blocks !== undefined ? 1 : Math.max(0, table.bytes - OPENING_BYTES) / CHUNK_BYTES,
  );
  const all = worths.reduce((sum, worth) => sum + worth, 0);
  const largest = worths.reduce((most, worth) => Math.max(most, worth), 0);
  if (largest === 0) return 1;
  return Math.min(Math.ceil(all / largest), 1 + Math.floor((all - largest) / CHUNKS_PER_LANE));
}
