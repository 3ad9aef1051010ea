import pg from 'pg';
import { Failure, type FailureOptions } from '#common';
import { type NamedInError, openNames, openText, serverWords, shortened } from './server-words.js';

const NOT_IN_ENCODING = '22021';
const NOT_UTF8 =
  'A database of the encoding SQL_ASCII can hold names, comments, defaults and checks that are not valid UTF-8. Change them with psql: PGCLIENTENCODING=SQL_ASCII allows it to send any bytes.';
const MAY_BE_DAMAGED = 'If this was a restore, verify the archive: it may be damaged.';

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
]);

/**
 * Turns the error of a connection or a statement into a Failure, which knows whether a retry can help. SQLSTATE codes:
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 * @param server host and database, without credentials, for the message
 * @param doing the operation that failed, such as "loading s.t"
 */
export function postgresFailure(error: unknown, server: string, doing?: string): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof pg.DatabaseError)
    return isRowTooLarge(error) && doing !== undefined
      ? rowTooLarge(error, doing)
      : statementFailure(error, doing === undefined ? server : `${server}, ${doing},`);
  const code = systemErrorCode(error);
  const cause = error;
  const tls = tlsFault(error, code);
  if (tls !== undefined)
    return new Failure(
      'DATABASE_TLS_REFUSED',
      'permanent',
      `Cannot connect to PostgreSQL at ${server} by TLS: ${tls.fault}.`,
      { hint: tls.hint, cause },
    );
  if (isPasswordMissing(error))
    return new Failure(
      'DATABASE_LOGIN_REFUSED',
      'permanent',
      `PostgreSQL at ${server} asks for a password, and there is none.`,
      { hint: 'Put it in REPOSITORY_URL or DATABASE_URL.', cause },
    );
  if (code !== undefined && UNREACHABLE.has(code))
    return new Failure(
      'DATABASE_UNREACHABLE',
      'transient',
      `PostgreSQL at ${server} cannot be reached (${code}).`,
      {
        hint: 'Check that it runs, and the host and port in REPOSITORY_URL or DATABASE_URL.',
        cause,
      },
    );
  return new Failure(
    'DATABASE_CONNECTION_LOST',
    'transient',
    `The connection to PostgreSQL at ${server} broke: ${error instanceof Error ? error.message : String(error)}.`,
    {
      hint: "Check PostgreSQL's log for a restart, a crash or, on a standby, a conflict with recovery (set hot_standby_feedback = on).",
      cause,
    },
  );
}

/** Whether node-postgres has no password, neither from the URL nor from PGPASSWORD or ~/.pgpass. */
function isPasswordMissing(error: unknown): boolean {
  return error instanceof Error && /^SASL: .*client password must be a/.test(error.message);
}

/** Like {@link postgresFailure}, for an error that came before the connection was ready. */
export function connectionFailure(error: unknown, server: string): Failure {
  return error instanceof pg.DatabaseError
    ? statementFailure(error, server, true)
    : postgresFailure(error, server);
}

/** Node's error codes for certificates: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const CERTIFICATE_ERROR =
  /^(CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|ERR_TLS_CERT_ALTNAME_INVALID)/;

/**
 * Returns the permanent cause of a failed TLS connection, and the next step. psql can connect in some of these cases: its
 * sslmodes `prefer` and `require` verify nothing, and `prefer` falls back to no TLS.
 * @returns undefined for other errors
 */
function tlsFault(error: unknown, code = ''): { fault: string; hint: string } | undefined {
  const message = error instanceof Error ? error.message : '';
  if (message === 'The server does not support SSL connections')
    return {
      fault: 'the server has no TLS',
      hint: 'Set ssl = on in the server, or sslmode=disable in the URL if you trust the network. Every other sslmode requires TLS, even prefer.',
    };
  if (CERTIFICATE_ERROR.test(code))
    return {
      fault: `the certificate cannot be verified (${code}: ${message})`,
      hint: "Every sslmode but disable and no-verify verifies it, even prefer and require. Set sslrootcert=/path/to/authority.crt in the URL or the variable NODE_EXTRA_CA_CERTS to your authority's file, or set sslmode=no-verify, which trusts every server.",
    };
  if (code === 'ENOENT' || code === 'EACCES') {
    const { syscall, path } = error as NodeJS.ErrnoException;
    if (syscall === 'open')
      return {
        fault: `the file ${path} cannot be read (${code})`,
        hint: 'Check sslrootcert, sslcert and sslkey in the URL.',
      };
  }
  return undefined;
}

/**
 * Turns the permanent cause of a failed TLS connection into a Failure.
 * @param server host and database, without credentials
 * @returns undefined for other errors
 */
export function tlsFailure(error: unknown, server: string): Failure | undefined {
  const failure = postgresFailure(error, server);
  return failure.code === 'DATABASE_TLS_REFUSED' ? failure : undefined;
}

/** Whether a row is over 1 GB as text, which is the most that PostgreSQL's string buffer can hold. */
function isRowTooLarge({ code, file }: pg.DatabaseError): boolean {
  return code === '54000' && file === 'stringinfo.c';
}

function rowTooLarge(error: pg.DatabaseError, doing: string): Failure {
  const { message } = error;
  return new Failure(
    'DATABASE_QUERY_FAILED',
    'permanent',
    `Row too large: ${doing}, PostgreSQL found a row of over 1 GB as text (SQLSTATE 54000).`,
    {
      hint: 'Neither COPY nor pg_dump can read such a row, and bytea counts twice. Make the row smaller, or store its value as a large object.',
      cause: new StatementError('54000', message),
    },
  );
}

/**
 * The cause of a Failure in place of node-postgres's error, whose texts may hold values of rows, which logs would show.
 */
class StatementError extends Error {
  override readonly name = 'StatementError';

  constructor(
    readonly code: string,
    message: string,
    /** Undefined unless the server itself raised the error. */
    readonly names?: NamedInError,
  ) {
    super(message);
  }
}

/** Turns PostgreSQL's error into a Failure: everybody may read its message, and the error's texts are confidential. */
function statementFailure(error: pg.DatabaseError, server: string, connecting = false): Failure {
  const { code = '' } = error;
  const said = openText(error, connecting);
  const { message } = failureOf(error, shortened(error.message), server, {});
  const confidential = { message, words: serverWords(error) };
  const cause = new StatementError(code, `${said} (SQLSTATE ${code})`, openNames(error));
  const hint = isRecoveryConflict(error) ? { hint: ON_STANDBY } : {};
  return failureOf(error, said, server, { ...hint, cause, confidential });
}

const ON_STANDBY =
  'On the standby, set hot_standby_feedback = on, raise max_standby_streaming_delay, and do not back up while tables are truncated, altered or restored.';

/**
 * Whether a standby cancelled the statement because the log that it replays removes rows or tables that it reads. The
 * source file decides: messages are translated, and conflicts of transactions have the same SQLSTATE.
 */
function isRecoveryConflict({ code = '', file }: pg.DatabaseError): boolean {
  return /^(40001|40P01)$/.test(code) && file === 'postgres.c';
}

/** PostgreSQL translates its messages: the code, and the source file that raised it, tell what happened. */
function failureOf(
  { code = '', file }: pg.DatabaseError,
  message: string,
  server: string,
  options: FailureOptions,
): Failure {
  if (code === '28P01' || code === '28000')
    return new Failure(
      'DATABASE_LOGIN_REFUSED',
      'permanent',
      `PostgreSQL at ${server} refused the login: ${message}.`,
      {
        hint: 'Check user and password in REPOSITORY_URL or DATABASE_URL, and pg_hba.conf.',
        ...options,
      },
    );
  if (code === '3D000')
    return new Failure('DATABASE_MISSING', 'permanent', `PostgreSQL at ${server} says: ${message}.`, {
      hint: 'Check the name of the database in REPOSITORY_URL or DATABASE_URL.',
      ...options,
    });
  if (code === '42501')
    return file === 'rls.c'
      ? new Failure('ROW_SECURITY', 'permanent', `A policy hides rows from this role: ${message}.`, {
          hint: 'Back up as a role with BYPASSRLS: an archive without the hidden rows would be incomplete.',
          ...options,
        })
      : new Failure('DATABASE_PERMISSION_DENIED', 'permanent', `PostgreSQL says: ${message}.`, {
          hint: 'Grant the missing privilege to the role in REPOSITORY_URL, and start again.',
          ...options,
        });
  if (code === '53200' && (file === 'lock.c' || file === 'predicate.c'))
    return lockShortage(server, {
      hint: 'Raise max_locks_per_transaction (each table needs about four locks in a restore) and restart PostgreSQL.',
      ...options,
    });
  if (code === '53100')
    return new Failure(
      'DATABASE_QUERY_FAILED',
      'permanent',
      `The disk of PostgreSQL at ${server} is full: ${message} (SQLSTATE 53100).`,
      {
        hint: 'Free space or enlarge the disk, and start again. A restore or a drill needs space for a second set of the rows and indexes, and for as much write-ahead log.',
        ...options,
      },
    );
  if (code === '55P03')
    return new Failure('TABLE_LOCKED', 'transient', `PostgreSQL at ${server} says: ${message}.`, {
      hint: 'Another session holds the lock. Find it in pg_locks, and start again when it has finished.',
      ...options,
    });
  // Classes 08 (connection), 53 (resources), 57 (operator intervention), 40 (rollback).
  const transient = /^(08|53|57|40)/.test(code);
  const lost = /^(08|57P0)/.test(code);
  return new Failure(
    lost ? 'DATABASE_CONNECTION_LOST' : 'DATABASE_QUERY_FAILED',
    transient ? 'transient' : 'permanent',
    `PostgreSQL at ${server} says: ${message} (SQLSTATE ${code}).`,
    // Class 22: values that their columns do not accept.
    {
      ...options,
      ...(code === NOT_IN_ENCODING
        ? { hint: `${NOT_UTF8} ${MAY_BE_DAMAGED}` }
        : code.startsWith('22') && { hint: MAY_BE_DAMAGED }),
    },
  );
}

/** Returns the failure of a server whose lock table is full. */
export function lockShortage(server: string, options: FailureOptions): Failure {
  return new Failure(
    'DATABASE_QUERY_FAILED',
    'permanent',
    `PostgreSQL at ${server} ran out of memory for locks.`,
    options,
  );
}

/** Whether a transaction needed more locks than the server has memory for. */
export function isLockShortage(failure: Failure): boolean {
  return sqlState(failure) === '53200' && failure.persistence === 'permanent';
}

/** Returns the SQLSTATE of an error. @returns undefined if it does not come from PostgreSQL */
export function sqlState(error: unknown): string | undefined {
  const cause = innermost(error);
  return cause instanceof StatementError || cause instanceof pg.DatabaseError ? cause.code : undefined;
}

/** Returns the names that PostgreSQL itself gave with an error. */
export function namedInError(error: unknown): NamedInError | undefined {
  const cause = innermost(error);
  return cause instanceof StatementError ? cause.names : undefined;
}

function innermost(error: unknown): unknown {
  const cause = error instanceof Failure ? error.cause : error;
  return cause instanceof Failure ? innermost(cause) : cause;
}

/** Whether the server or the role has reached its limit of connections (too_many_connections). */
export function isConnectionShortage(error: unknown): boolean {
  return sqlState(error) === '53300';
}

/**
 * Whether PostgreSQL refused its input: values, names, definitions, or an error that a user's function raised. False for
 * connections, rights, resources, locks and cancelled statements, where a retry may succeed.
 */
export function isRefusal(error: unknown): boolean {
  const code = sqlState(error) ?? '';
  return code !== '42501' && /^(0A|21|22|23|2B|2F|38|39|42|44|54|P0)/.test(code);
}

/** Whether rows refer to rows that do not exist. */
export function isForeignKeyViolation(error: unknown): boolean {
  return sqlState(error) === '23503';
}

/** Whether rows violate a check. */
export function isCheckViolation(error: unknown): boolean {
  return sqlState(error) === '23514';
}

function systemErrorCode(error: unknown): string | undefined {
  // The error of node-postgres's connectionTimeoutMillis has no code.
  if (error instanceof Error && error.message === 'timeout expired') return 'ETIMEDOUT';
  // Node tries every address of a host, and reports an error for each.
  const { errors, code } = error as { errors?: unknown[]; code?: unknown };
  if (Array.isArray(errors)) return systemErrorCode(errors[0] ?? {});
  return typeof code === 'string' ? code : undefined;
}
