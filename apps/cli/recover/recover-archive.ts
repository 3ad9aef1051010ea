import { openArchive } from '#archive';
import { type ErrorCode, Failure, summarizeOmissions } from '#common';
import { postgresUrl, Secret } from '#config';
import type { OmittedThings, ReportProgress } from '#contracts';
import { type CleanUpResult, cleanUpRecovers, recover, type RecoverResult, urlOf } from '#engine';
import { findArchive } from './find-archive.js';

/** The server of a recover, from the command line. */
export interface Target {
  /** Its PostgreSQL URL with the name of the new database. */
  to: string;
  /** The database that exists before. */
  maintenanceDb: string;
}

export interface RecoverOptions extends Target {
  archive: string;
  parallelJobs: number;
  createRoles: boolean;
  privilegedRoles: boolean;
  noOwner: boolean;
  locale: string | undefined;
}

export interface Display {
  /** Takes the archive that was found, and the reason for the choice of `latest`. */
  found: (archive: { name: string; reason: string | undefined; takenOn: number; database: string }) => void;
  report: ReportProgress;
  /** Takes a sentence about losses that are certain before anything is created. */
  foreseen: (text: string) => void;
  /** Takes a sentence when the object store begins or ceases to answer late. */
  delayed: (text: string) => void;
  signal: AbortSignal;
}

/** The outcome of a recover, as --json prints it. */
export interface RecoverReport extends Omit<RecoverResult, 'archiveOmits'> {
  database: string;
  /** The path of the file, or `s3://bucket/key`. */
  archive: string;
  /** The instant that the archive shows: milliseconds since 1970. */
  takenOn: number;
  /** Things that the archive does not hold, by kind. */
  omissions: OmittedThings[];
  totalTimeMS: number;
}

/** Recovers a database from an archive alone. @throws Failure, SettingsError; the signal's reason */
export async function recoverArchive(
  { archive: address, ...options }: RecoverOptions,
  { found: tellFound, report, foreseen, delayed, signal }: Display,
): Promise<RecoverReport> {
  const begun = performance.now();
  const database = databaseIn(options.to);
  const maintenanceUrl = maintenanceUrlOf(options);
  const found = await findArchive(address, delayed, signal);
  try {
    const archive = await openArchive(found.source);
    const { takenAt, server } = archive.manifest;
    const takenOn = Date.parse(takenAt);
    tellFound({ ...found, takenOn, database: server.database });
    const journal = {
      report,
      notes: { archives: [], sessions: [] },
      note: () => Promise.resolve(),
      isOvertaken: () => Promise.resolve(false),
    };
    const applicationName = `snapshotd recover pid ${process.pid}`;
    const { archiveOmits, ...result } = await atServer(() =>
      recover({ ...options, archive, maintenanceUrl, database, applicationName, journal, foreseen, signal }),
    );
    return {
      database,
      archive: found.name,
      takenOn,
      ...result,
      omissions: summarizeOmissions(archiveOmits),
      totalTimeMS: Math.round(performance.now() - begun),
    };
  } finally {
    await found.close();
  }
}

/** Drops the databases that interrupted recovers have left. @throws Failure; the signal's reason */
export async function cleanUp(target: Target, signal: AbortSignal): Promise<CleanUpResult> {
  return atServer(() => cleanUpRecovers(maintenanceUrlOf(target), signal));
}

/** https://www.postgresql.org/docs/current/limits.html */
const MAX_NAME_BYTES = 63;

/** @throws Failure USAGE_WRONG */
function databaseIn(to: string): string {
  const name = decodeURIComponent(new URL(checked(to)).pathname.slice(1));
  if (name === '')
    throw wrong(
      '--to names no database. Put the name of the new one at its end, such as postgres://host/shop.',
    );
  if (name.includes('\0')) throw wrong('--to names a database with a zero byte (%00). Remove it.');
  // PostgreSQL would cut it, and overlook a database of the shorter name.
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw wrong(
      `--to names a database of ${Buffer.byteLength(name)} bytes. Shorten the name to at most ${MAX_NAME_BYTES} bytes.`,
    );
  return name;
}

function maintenanceUrlOf({ to, maintenanceDb }: Target): Secret {
  return new Secret(urlOf(new Secret(checked(to)), maintenanceDb));
}

function checked(to: string): string {
  const { data, error } = postgresUrl.safeParse(to);
  if (data === undefined) throw wrong(`--to ${error.issues.map(({ message }) => message).join('; ')}.`);
  return data;
}

function wrong(message: string): Failure {
  return new Failure('USAGE_WRONG', 'permanent', message);
}

/** The next steps in the words of the command line: the libraries name the settings of servers. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  DATABASE_UNREACHABLE: 'Check that it runs, and the host and port in --to.',
  DATABASE_LOGIN_REFUSED:
    'Check the user in --to, its password there, in PGPASSWORD or in ~/.pgpass, and pg_hba.conf.',
  DATABASE_MISSING: 'Recover connects to this database first: name another one with --maintenance-db.',
  DATABASE_PERMISSION_DENIED: 'Recover as a superuser.',
  SERVERS_DIFFER: 'All connections must reach the same server: name the primary in --to.',
  SERVER_IS_STANDBY: 'Name the primary in --to.',
};

async function atServer<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { code, persistence, confidential } = error;
    // The engine's own check of rights names the statements to run.
    const isOwn = code === 'DATABASE_PERMISSION_DENIED' && !/_URL\b/.test(error.hint ?? '');
    const hint = (isOwn ? undefined : HINTS[code]) ?? error.hint;
    // The caller may see the rows: it has the archive and the server.
    const message = confidential?.message ?? error.message;
    throw new Failure(code, persistence, message, {
      cause: error,
      confidential,
      ...(hint !== undefined && { hint }),
    });
  }
}
