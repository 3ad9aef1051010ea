import type { OpenArchive } from '#archive';
import type { Failure } from '#common';
import type { Secret } from '#config';
import type { Journal } from '#contracts';

/** A database to build from an archive. */
export interface BuildRequest {
  archive: OpenArchive;
  /** The server, with the database that exists before: usually `postgres`. */
  maintenanceUrl: Secret;
  /** A libc locale in place of the archived one. */
  locale?: string | undefined;
  /** The most sessions. */
  parallelJobs: number;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  journal: Journal;
  /** The job whose earlier attempts the journal may name; missing for the command line. */
  daemonId?: string | undefined;
  /** For a job that ended between its attempts: thrown once their remains are removed. */
  endAfterSettling?: Failure | undefined;
  signal: AbortSignal;
}

/** The same server with another database. */
export function urlOf(url: Secret, database: string): string {
  const other = new URL(url.reveal());
  other.pathname = `/${encodeURIComponent(database)}`;
  return other.href;
}
