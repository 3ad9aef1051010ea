import type pg from 'pg';
import { Failure } from '#common';
import { displayTable } from './identifiers.js';
import { Session, type SessionOptions } from './session.js';
import { flushLog, OWN_ROLE } from './transactions.js';

interface Waiting {
  kind: string;
  relation: string | null;
  schema: string | null;
  blockers: string[] | null;
}

/**
 * A second connection that looks at what the working ones do: how far a COPY is, and whom a lock waits for.
 * It costs the working connections nothing. Should it break, the next question opens it anew.
 */
export class Observer {
  private closed = false;

  private constructor(
    private session: Promise<Session> | undefined,
    private readonly connect: () => Promise<Session>,
  ) {}

  static async open(url: string, options: SessionOptions): Promise<Observer> {
    const connect = () => Session.open(url, options);
    const session = connect();
    await session;
    return new Observer(session, connect);
  }

  /**
   * Rows that the running COPY of a backend has handled so far. A COPY that has ended is not listed: its command tag
   * counts.
   * https://www.postgresql.org/docs/current/progress-reporting.html#COPY-PROGRESS-REPORTING
   */
  async rowsInFlight(pid: number): Promise<number> {
    const rows = await this.query<{ rows: string }>(
      'SELECT tuples_processed AS rows FROM pg_stat_progress_copy WHERE pid = $1',
      [pid],
    );
    return Number(rows[0]?.rows ?? 0);
  }

  /** Says what the session of this name waits for, or nothing while there is none or it does not wait for a lock. */
  async sessionWaitingFor(applicationName: string): Promise<string | undefined> {
    const [session] = await this.query<{ pid: number }>(
      `SELECT pid FROM pg_catalog.pg_stat_activity
        WHERE application_name = $1 AND datname = pg_catalog.current_database() AND ${OWN_ROLE}`,
      [applicationName],
    );
    return session && this.waitingFor(session.pid);
  }

  /** Says what a backend waits for, or nothing while it waits for no lock and no standby. */
  async waitingFor(pid: number): Promise<string | undefined> {
    // Asked first, because a list of all locks is long where there are many tables.
    const [state] = await this.query<{ type: string | null; event: string | null; standbys: string }>(
      `SELECT wait_event_type AS type, wait_event AS event, current_setting('synchronous_standby_names') AS standbys
         FROM pg_stat_activity WHERE pid = $1`,
      [pid],
    );
    if (state?.event === 'SyncRep')
      return `a synchronous standby, without which nothing is committed (synchronous_standby_names is ${state.standbys}): start it, or take it off that list`;
    return state?.type === 'Lock' ? this.waitingForLock(pid) : undefined;
  }

  private async waitingForLock(pid: number): Promise<string | undefined> {
    const [waiting] = await this.query<Waiting>(
      `SELECT l.locktype AS kind, c.relname AS relation, n.nspname AS schema,
              (SELECT array_agg(DISTINCT format('%s (pid %s)', coalesce(nullif(a.application_name, ''), a.usename), a.pid))
                 FROM pg_stat_activity a WHERE a.pid = ANY (pg_blocking_pids(l.pid))) AS blockers
         FROM pg_locks l
         LEFT JOIN pg_class c ON c.oid = l.relation
         LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE l.pid = $1 AND NOT l.granted`,
      [pid],
    );
    if (waiting === undefined) return undefined;
    const { kind, relation, schema, blockers } = waiting;
    const thing =
      relation !== null && schema !== null
        ? `table ${displayTable({ schema, name: relation })}`
        : `a lock (${kind})`;
    return `${thing}, which is locked by ${blockers?.join(', ') ?? 'another session'}`;
  }

  /** Stops what a backend is doing; its statement fails with "canceling statement due to user request". */
  async cancel(pid: number): Promise<void> {
    await this.query('SELECT pg_cancel_backend($1)', [pid]);
  }

  /** See {@link flushLog}: the working session cannot do that itself before its end. */
  flushLog(): Promise<void> {
    return this.ask(flushLog);
  }

  /** Drops the connection at once. */
  destroy(): void {
    this.closed = true;
    this.session?.then(
      (session) => session.destroy(),
      () => undefined, // There was none.
    );
  }

  async close(): Promise<void> {
    this.closed = true;
    const session = await this.session?.catch(() => undefined);
    await session?.close();
  }

  private query<Row extends pg.QueryResultRow>(sql: string, values: unknown[]): Promise<Row[]> {
    return this.ask((session) => session.query<Row>(sql, values));
  }

  /** Puts a question that takes more than one query. Locks that it takes are gone with each of its statements. */
  async ask<Answer>(question: (session: Session) => Promise<Answer>): Promise<Answer> {
    if (this.closed) throw new Failure('DATABASE_CONNECTION_LOST', 'transient', 'The observer was closed.');
    const connecting = (this.session ??= this.connect());
    // Another question may have opened it anew by then.
    const forget = () => {
      if (this.session === connecting) this.session = undefined;
    };
    const session = await connecting.catch((error: unknown) => {
      forget();
      throw error;
    });
    try {
      return await question(session);
    } catch (error) {
      if (error instanceof Failure && error.code === 'DATABASE_CONNECTION_LOST') forget();
      throw error;
    }
  }
}
