import { errorSentence, Failure, type Task, runTaskGroup } from '#common';
import { displayTable, quoteTable, type Session, underPath } from '#postgres';
import type { RestorePlan } from './restore-plan.js';
import { openParallelSession } from '../shared/parallel-sessions.js';
import type { Repository } from '../shared/repository-session.js';

/** A table with fewer rows is sampled sooner than a session is opened. */
const LARGE_TABLE_ROWS = 100_000;

export interface StatisticsOptions {
  repository: Repository;
  applicationName: string;
  /** The session that restored. */
  leader: Session;
  /** Sessions that may be used, at most. */
  parallelJobs: number;
  signal: AbortSignal;
}

/**
 * Makes the statistics that the planner needs of tables that were restored; large ones side by side. Tables that
 * somebody else has locked by now are left to autovacuum.
 * https://www.postgresql.org/docs/current/sql-analyze.html
 * @returns the tables whose statistics PostgreSQL could not make, each with the reason
 * @throws Failure when the server went away, or the signal's reason
 */
export async function analyzeTables(
  { archived, mapping: place, pathOf }: RestorePlan,
  { repository, applicationName, leader, parallelJobs, signal }: StatisticsOptions,
): Promise<string[]> {
  const largest = archived.toSorted((a, b) => b.rows - a.rows);
  const left = largest.values();
  const without: string[] = [];
  const analyze = async (session: Session, signal: AbortSignal) => {
    // Statistics may be lost with the server: no need to wait for the disk after each table.
    await session.query('SET synchronous_commit = off');
    for (const table of left) {
      signal.throwIfAborted();
      try {
        const statement = `ANALYZE (SKIP_LOCKED) ${quoteTable(place(table))}`;
        // Up to PostgreSQL 16 expressions of indexes may call functions by their bare names.
        await underPath(session, pathOf(table), () => session.query(statement));
      } catch (error) {
        // Such as for a table that was dropped meanwhile, or an index whose function fails.
        if (!(error instanceof Failure) || error.code !== 'DATABASE_QUERY_FAILED') throw error;
        without.push(`${displayTable(place(table))} (${errorSentence(error)})`);
      }
    }
  };
  const beside = async (lane: number, signal: AbortSignal) => {
    const session = await openParallelSession(
      { url: repository.url.reveal(), applicationName, leader, signal },
      lane,
    );
    if (session === undefined) return;
    const drop = () => session.destroy();
    signal.addEventListener('abort', drop, { once: true });
    try {
      await analyze(session, signal);
    } finally {
      signal.removeEventListener('abort', drop);
      await session.close();
    }
  };
  const useful = Math.min(parallelJobs, largest.filter(({ rows }) => rows >= LARGE_TABLE_ROWS).length);
  await runTaskGroup(signal, [
    (signal) => analyze(leader, signal),
    ...Array.from(
      { length: Math.max(0, useful - 1) },
      (_, index): Task<void> =>
        (signal) =>
          beside(index + 2, signal),
    ),
  ]);
  return without;
}
