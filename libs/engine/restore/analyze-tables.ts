import { addAbortListener } from 'node:events';
import { errorSentence, Failure, type Task, runTaskGroup } from '#common';
import { displayTable, quoteTable, type Session, underPath } from '#postgres';
import type { RestorePlan } from './restore-plan.js';
import { openParallelSession } from '../shared/parallel-sessions.js';
import type { Repository } from '../shared/repository-session.js';

/** Analyzing a smaller table takes less time than opening a session. */
const LARGE_TABLE_ROWS = 100_000;

export interface StatisticsOptions {
  repository: Repository;
  applicationName: string;
  /** The session that restored the rows. */
  leader: Session;
  /** The most sessions to use. */
  parallelJobs: number;
  signal: AbortSignal;
}

/**
 * Collects planner statistics of restored tables, large ones in parallel. Skips tables that other sessions have locked
 * by now: autovacuum analyzes them.
 * https://www.postgresql.org/docs/current/sql-analyze.html
 * @returns the tables that PostgreSQL cannot analyze, each with the reason
 * @throws Failure if the server is lost, or the signal's reason
 */
export async function analyzeTables(
  { archived, mapping, pathOf }: RestorePlan,
  { repository, applicationName, leader, parallelJobs, signal }: StatisticsOptions,
): Promise<string[]> {
  const largest = archived.toSorted((a, b) => b.rows - a.rows);
  const remaining = largest.values();
  const failed: string[] = [];
  const analyze = async (session: Session, stopped: AbortSignal) => {
    // Statistics may be lost in a crash: no need to wait for the disk after each table.
    await session.query('SET synchronous_commit = off');
    for (const table of remaining) {
      stopped.throwIfAborted();
      try {
        const statement = `ANALYZE (SKIP_LOCKED) ${quoteTable(mapping(table))}`;
        // Up to PostgreSQL 16 index expressions may call functions by unqualified names.
        await underPath(session, pathOf(table), () => session.query(statement));
      } catch (error) {
        // The table was dropped meanwhile, or the function of an index fails.
        if (!(error instanceof Failure) || error.code !== 'DATABASE_QUERY_FAILED') throw error;
        failed.push(`${displayTable(mapping(table))} (${errorSentence(error)})`);
      }
    }
  };
  const analyzeOnOther = async (number: number, stopped: AbortSignal) => {
    const session = await openParallelSession(
      { url: repository.url.reveal(), applicationName, leader, signal: stopped },
      number,
    );
    if (session === undefined) return;
    using _listener = addAbortListener(stopped, () => session.destroy());
    try {
      await analyze(session, stopped);
    } finally {
      await session.close();
    }
  };
  const useful = Math.min(parallelJobs, largest.filter(({ rows }) => rows >= LARGE_TABLE_ROWS).length);
  await runTaskGroup(signal, [
    (stopped) => analyze(leader, stopped),
    ...Array.from(
      { length: Math.max(0, useful - 1) },
      (_, index): Task<void> =>
        (stopped) =>
          analyzeOnOther(index + 2, stopped),
    ),
  ]);
  return failed;
}
