import { addAbortListener } from 'node:events';
import pg from 'pg';
import { Failure, withTimeout } from '#common';
import { connectionFailure, postgresFailure, sqlState } from './errors.js';
import { destroySocket, isIdle, OneBufferSocket } from './pg-internals.js';
import { startSafely } from './safe-start.js';

/**
 * Settings that make COPY's text exact and equal on every server, whatever the database, the role or the client
 * libraries set. array_nulls off would turn NULL into the text "NULL"; synchronize_seqscans would make the
 * order of rows depend on other sessions; constraint_exclusion would evaluate calls in checks to plan a query;
 * quote_all_identifiers would change the names of types. Settings that a server does not know are skipped.
 * https://www.postgresql.org/docs/current/runtime-config-client.html
 */
const EXACT_TEXT = {
  datestyle: 'ISO, YMD',
  intervalstyle: 'postgres',
  timezone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  lc_monetary: 'C',
  xmloption: 'content',
  array_nulls: 'on',
  standard_conforming_strings: 'on',
  row_security: 'off',
  constraint_exclusion: 'off',
  quote_all_identifiers: 'off',
  synchronize_seqscans: 'off',
  max_parallel_workers_per_gather: '0',
  // PostgreSQL overestimates queries of the catalog and the joins for foreign keys, and took seconds to compile them.
  jit: 'off',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  transaction_timeout: '0',
} as const;

/** Removes a time limit of the role or the database. */
const FIRST_STATEMENT = 'SET statement_timeout TO 0';
/** A limit of one millisecond can also cancel the first statement. */
const FIRST_STATEMENT_TRIES = 5;
const QUERY_CANCELED = '57014';

const CONNECT_TIMEOUT_MS = 10_000;
const CLOSE_TIMEOUT_MS = 2_000;
/** The silence before TCP probes begin. They detect a vanished host in a minute or two instead of hours. */
const KEEP_ALIVE_AFTER_MS = 10_000;

/** Proxies cut idle connections; HAProxy is often set to ten seconds. */
const BEAT_EVERY_MS = 3_000;
const BEAT_TIMEOUT_MS = 60_000;

export interface SessionOptions {
  /** Shown in pg_stat_activity; at most 63 bytes. */
  applicationName: string;
  /** Stops the connecting. */
  signal?: AbortSignal;
  /** A session that must be with the same database of the same running server: an address can lead to several servers. */
  beside?: Session;
}

/** One connection with settings that make reading exact. Its queries fail with a Failure that has a hint. */
export class Session {
  private broken: unknown;
  private readonly beating = setInterval(() => this.beat(), BEAT_EVERY_MS).unref();

  private constructor(
    readonly client: pg.Client,
    readonly applicationName: string,
    /** Host, port and database, without credentials: for messages. */
    readonly server: string,
    /** The backend's process id, as pg_stat_activity and pg_cancel_backend know it. */
    readonly pid: number,
    /** The database's OID and its server's start time: no two servers started in the same microsecond. */
    private readonly serverRun: string,
  ) {}

  /**
   * Connects and fixes the session's settings.
   * @throws Failure DATABASE_UNREACHABLE, DATABASE_LOGIN_REFUSED, DATABASE_MISSING, ROLE_SET_BY_DATABASE,
   * SERVERS_DIFFER, DATABASE_TLS_REFUSED
   */
  static async open(url: string, { applicationName, signal, beside }: SessionOptions): Promise<Session> {
    const server = displayServer(url);
    const client = newClient(url, applicationName);
    let session: Session | undefined;
    using _listener = signal && addAbortListener(signal, () => destroySocket(client));
    // pg reports an idle connection that breaks here only. Without a listener it would end the process.
    client.on('error', (error) => {
      if (session !== undefined) session.broken ??= error; // The first error is the cause.
    });
    try {
      signal?.throwIfAborted();
      await client.connect();
      await firstStatement(client);
      await client.query(
        `SELECT set_config(known.name, wanted.value, false)
           FROM unnest($1::text[], $2::text[]) AS wanted (name, value)
           JOIN pg_catalog.pg_settings AS known ON lower(known.name) = wanted.name`,
        [Object.keys(EXACT_TEXT), Object.values(EXACT_TEXT)],
      );
      // A crash of the server must not lose a commit, even if the database's setting accepts that for speed.
      await client.query(
        `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`,
      );
      const { rows } = await client.query<{ pid: number; serverRun: string }>(
        `SELECT pg_backend_pid() AS pid, concat(oid, ' ', pg_postmaster_start_time()) AS "serverRun"
           FROM pg_database WHERE datname = current_database()`,
      );
      const { pid = 0, serverRun = '' } = rows[0] ?? {};
      if (beside !== undefined && serverRun !== beside.serverRun) throw serversDiffer(server);
      session = new Session(client, applicationName, server, pid, serverRun);
      return session;
    } catch (error) {
      destroySocket(client);
      throw signal?.aborted === true ? signal.reason : connectionFailure(error, server);
    }
  }

  /**
   * Sends an empty query if the connection is idle. It takes no snapshot, and a failed transaction accepts it.
   */
  private beat(): void {
    if (this.broken !== undefined) clearInterval(this.beating);
    // The next query reports a failure.
    else if (isIdle(this.client))
      this.dropAfter(BEAT_TIMEOUT_MS, () => this.client.query('')).catch(() => undefined);
  }

  /** Runs one statement and returns its rows. @throws Failure */
  async query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]> {
    try {
      if (this.broken !== undefined) throw this.broken;
      return (await this.client.query<Row>(sql, values)).rows;
    } catch (error) {
      throw postgresFailure(this.broken ?? error, this.server);
    }
  }

  /** Ends the connection, its transaction and its locks. Never fails: a broken connection has ended. */
  async close(): Promise<void> {
    clearInterval(this.beating);
    await this.dropAfter(CLOSE_TIMEOUT_MS, () => this.client.end()).catch(() => undefined);
  }

  /** Runs work, and drops the connection if the server does not answer in time. */
  private dropAfter(milliseconds: number, work: () => Promise<unknown>): Promise<unknown> {
    return withTimeout(
      milliseconds,
      undefined,
      () => undefined,
      (late) => {
        addAbortListener(late, () => this.destroy());
        return work();
      },
    );
  }

  /** Drops the connection at once, without a message to the server: the way to abandon a COPY. */
  destroy(): void {
    clearInterval(this.beating);
    destroySocket(this.client);
  }

  /** Commits the transaction. @throws Failure also if the server rolls back, because the transaction had failed */
  async commit(): Promise<void> {
    try {
      const { command } = await this.client.query('COMMIT');
      if (command !== 'COMMIT') throw new Error(`COMMIT ended in ${command}`);
    } catch (error) {
      throw postgresFailure(this.broken ?? error, this.server);
    }
  }
}

/** Creates a client without connecting. @throws Failure DATABASE_TLS_REFUSED if a certificate's file is missing */
function newClient(url: string, applicationName: string): pg.Client {
  try {
    return new pg.Client({
      connectionString: withoutSessionParameters(url),
      application_name: applicationName,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
      stream: () => new OneBufferSocket(),
    });
  } catch (error) {
    throw connectionFailure(error, displayServer(url));
  }
}

function serversDiffer(server: string): Failure {
  return new Failure('SERVERS_DIFFER', 'transient', `${server} leads to several servers.`, {
    hint: 'All connections of a job must reach the same server. Set REPOSITORY_URL to an address that leads to the primary only.',
  });
}

async function firstStatement(client: pg.Client): Promise<void> {
  for (let tries = 1; ; tries++)
    try {
      await startSafely(client, [], FIRST_STATEMENT);
      return;
    } catch (error) {
      if (sqlState(error) !== QUERY_CANCELED || tries >= FIRST_STATEMENT_TRIES) throw error;
    }
}

/** Removes parameters that would override this file's settings: a takeover relies on the session's name. */
export function withoutSessionParameters(url: string): string {
  const address = new URL(url);
  for (const name of ['options', 'application_name', 'fallback_application_name'])
    address.searchParams.delete(name);
  return address.href;
}

/** Returns host, port and database of a URL, without credentials, for messages. */
export function displayServer(url: string): string {
  const { host, port } = serverAddress(url);
  return `${host}:${port}${new URL(url).pathname}`;
}

/** Returns the address of a URL's server. As in node-postgres, parameters override the rest of the URL. */
export function serverAddress(url: string): { host: string; port: string } {
  const { hostname, port, searchParams } = new URL(url);
  const host = decodeURIComponent(searchParams.get('host') || hostname);
  return { host: host || 'localhost', port: searchParams.get('port') || port || '5432' };
}
