import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Failure } from '#common';
import { connectionFailure, postgresFailure, sqlState } from './errors.js';
import { OneBufferSocket } from './one-buffer-socket.js';
import { startSafely } from './safe-start.js';

/**
 * What makes COPY's text exact and the same on every server, whatever the database, the role or the client
 * libraries set. array_nulls off would turn NULL into the text "NULL"; synchronize_seqscans would make the
 * order of rows depend on other sessions; constraint_exclusion would evaluate calls in checks to plan a query;
 * quote_all_identifiers would change the names of types. Settings that a server is too old to know are left out.
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
  // Queries of the catalog, and the joins for foreign keys, are estimated as if they were slow, which they are not:
  // compiling them took seconds.
  jit: 'off',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  transaction_timeout: '0',
} as const;

/** Lifts the time limit that a role or a database may set. */
const FIRST_STATEMENT = 'SET statement_timeout TO 0';
/** A limit of one millisecond can cancel the first statement itself. */
const FIRST_STATEMENT_TRIES = 5;
const QUERY_CANCELED = '57014';

const CONNECT_TIMEOUT_MS = 10_000;
const CLOSE_TIMEOUT_MS = 2_000;
/** A host that vanished without a word is found out a minute or two after so long a silence, and not after hours. */
const KEEP_ALIVE_AFTER_MS = 10_000;

/** Proxies cut connections on which nothing happens: HAProxy after ten seconds, if it is told to. */
const BEAT_EVERY_MS = 3_000;
const BEAT_ANSWERED_WITHIN_MS = 60_000;

export interface SessionOptions {
  /** Shown in pg_stat_activity; at most 63 bytes. */
  applicationName: string;
  /** Gives connecting up. */
  signal?: AbortSignal;
  /** A session with the same database of the same running server: an address can lead to several. */
  beside?: Session;
}

/** One connection whose settings make reading exact. Its queries fail with a Failure that says what to do. */
export class Session {
  private broken: unknown;
  private readonly beating = setInterval(() => this.beat(), BEAT_EVERY_MS).unref();

  private constructor(
    readonly client: pg.Client,
    /** Host, port and database, without credentials: for messages. */
    readonly server: string,
    /** The backend's process id, as pg_stat_activity and pg_cancel_backend know it. */
    readonly pid: number,
    /** The database, and when its server was started: two servers have not started in the same microsecond. */
    private readonly place: string,
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
    const giveUp = () => destroySocket(client);
    signal?.addEventListener('abort', giveUp, { once: true });
    // An idle connection that breaks is told here only; without a listener it would end the process.
    client.on('error', (error) => {
      if (session !== undefined) session.broken ??= error; // The first one says why.
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
      // What was committed must not be lost with the server, whatever may be lost for speed elsewhere.
      await client.query(
        `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`,
      );
      const { rows } = await client.query<{ pid: number; place: string }>(
        `SELECT pg_backend_pid() AS pid, concat(oid, ' ', pg_postmaster_start_time()) AS place
           FROM pg_database WHERE datname = current_database()`,
      );
      const { pid = 0, place = '' } = rows[0] ?? {};
      if (beside !== undefined && place !== beside.place) throw serversDiffer(server);
      session = new Session(client, server, pid, place);
      return session;
    } catch (error) {
      giveUp();
      throw signal?.aborted === true ? signal.reason : connectionFailure(error, server);
    } finally {
      signal?.removeEventListener('abort', giveUp);
    }
  }

  /**
   * Sends an empty query if the connection is idle: it takes no snapshot, and is none in a failed transaction either.
   */
  private beat(): void {
    // pg's types do not show it.
    const { readyForQuery } = this.client as pg.Client & { readyForQuery: boolean };
    if (this.broken !== undefined) clearInterval(this.beating);
    else if (readyForQuery) {
      const late = setTimeout(() => this.destroy(), BEAT_ANSWERED_WITHIN_MS).unref();
      // Who asks next is told.
      void this.client
        .query('')
        .catch(() => undefined)
        .finally(() => clearTimeout(late));
    }
  }

  /** Runs one statement and gives its rows. @throws Failure */
  async query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]> {
    try {
      if (this.broken !== undefined) throw this.broken;
      return (await this.client.query<Row>(sql, values)).rows;
    } catch (error) {
      throw postgresFailure(this.broken ?? error, this.server);
    }
  }

  /** Ends the connection, and with it its transaction and its locks. Never fails: a broken one is gone already. */
  async close(): Promise<void> {
    clearInterval(this.beating);
    const ended = new AbortController();
    // A server that cannot be reached any more says no goodbye either.
    sleep(CLOSE_TIMEOUT_MS, undefined, { signal: ended.signal }).then(
      () => this.destroy(),
      () => undefined,
    );
    await this.client.end().catch(() => undefined);
    ended.abort();
  }

  /** Drops the connection at once, without a word to the server; for a COPY that nobody reads any more. */
  destroy(): void {
    clearInterval(this.beating);
    destroySocket(this.client);
  }

  /** Commits the transaction. @throws Failure also when the server rolled it back instead, having failed before */
  async commit(): Promise<void> {
    try {
      const { command } = await this.client.query('COMMIT');
      if (command !== 'COMMIT') throw new Error(`COMMIT ended in ${command}`);
    } catch (error) {
      throw postgresFailure(this.broken ?? error, this.server);
    }
  }
}

/** @throws Failure DATABASE_TLS_REFUSED for a certificate's file that is missing */
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
  return new Failure(
    'SERVERS_DIFFER',
    'transient',
    `${server} leads to one server at one time and to another at the next.`,
    {
      hint: 'All connections of a job must reach the same one: name the primary in REPOSITORY_URL, by an address of its own.',
    },
  );
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

function destroySocket(client: pg.Client): void {
  // pg's types do not show the connection; its stream is how to drop it without waiting for anybody.
  (client as pg.Client & { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}

/** What the URL says of the session would go before what is said here: a takeover relies on the session's name. */
export function withoutSessionParameters(url: string): string {
  const address = new URL(url);
  for (const name of ['options', 'application_name', 'fallback_application_name'])
    address.searchParams.delete(name);
  return address.href;
}

/** Host, port and database of a URL, without credentials: for messages. */
export function displayServer(url: string): string {
  const { hostname, port, pathname, searchParams } = new URL(url);
  // As node-postgres takes them: parameters count first.
  const host = decodeURIComponent(searchParams.get('host') || hostname);
  return `${host || 'localhost'}:${searchParams.get('port') || port || '5432'}${pathname}`;
}
