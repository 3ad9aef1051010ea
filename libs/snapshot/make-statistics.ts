import { quoteTable, type Session } from '#postgres';
import type { Fit } from './fit.js';
import { openLane } from './lanes.js';
import type { Repository } from './repository-session.js';

/** A table with fewer rows is sampled sooner than a session is opened. */
const LARGE_TABLE_ROWS = 100_000;

export interface StatisticsOptions {
  repository: Repository;
  applicationName: string;
  /** The session that restored. */
  leader: Session;
  /** Sessions that may be used, at most. */
  lanes: number;
  signal: AbortSignal;
}

/**
 * Makes the statistics that the planner needs of tables that were restored; large ones side by side.
 * https://www.postgresql.org/docs/current/sql-analyze.html
 */
export async function makeStatistics(
  { archived, place }: Fit,
  { repository, applicationName, leader, lanes, signal }: StatisticsOptions,
): Promise<void> {
  const largest = archived.toSorted((a, b) => b.rows - a.rows);
  const left = largest.values();
  const analyze = async (session: Session) => {
    // Expressions of indexes may call functions by their bare names.
    await session.query('SET search_path TO DEFAULT');
    for (const table of left) await session.query(`ANALYZE ${quoteTable(place(table))}`);
  };
  const useful = Math.min(lanes, largest.filter(({ rows }) => rows >= LARGE_TABLE_ROWS).length);
  const beside = async (lane: number) => {
    const session = await openLane({ url: repository.url.reveal(), applicationName, signal }, lane);
    if (session === undefined) return;
    const drop = () => session.destroy();
    signal.addEventListener('abort', drop, { once: true });
    try {
      await analyze(session);
    } finally {
      signal.removeEventListener('abort', drop);
      await session.close();
    }
  };
  const others = Array.from({ length: Math.max(0, useful - 1) }, (_, index) => beside(index + 2));
  await Promise.all([analyze(leader), ...others]);
}
