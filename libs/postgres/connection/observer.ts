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
 * A second connection that observes the others: the progress of a COPY, and the holders of a lock. It costs the others
 * nothing. If it breaks, the next question opens another one.
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
   * Returns the rows that the running COPY of a backend has processed. It is 0 for a COPY that has ended, whose command
   * tag has the count.
   * https://www.postgresql.org/docs/current/progress-reporting.html#COPY-PROGRESS-REPORTING
   */
  async rowsInFlight(pid: number): Promise<number> {
    const rows = await this.query<{ rows: string }>(
      'SELECT tuples_processed AS rows FROM pg_stat_progress_copy WHERE pid = $1',
      [pid],
    );
    return Number(rows[0]?.rows ?? 0);
  }

  /** Says what the session of this name waits for. @returns undefined if there is none, or if it does not wait */
  async sessionWaitingFor(applicationName: string): Promise<string | undefined> {
    const [session] = await this.query<{ pid: number }>(
      `SELECT pid FROM pg_catalog.pg_stat_activity
        WHERE application_name = $1 AND datname = pg_catalog.current_database() AND ${OWN_ROLE}`,
      [applicationName],
    );
    return session && this.waitingFor(session.pid);
  }

  /** Says which lock or standby a backend waits for. @returns undefined if none */
  async waitingFor(pid: number): Promise<string | undefined> {
    // Asked first, because with many tables the list of all locks is long.
    const [state] = await this.query<{ type: string | null; event: string | null; standbys: string }>(
      `SELECT wait_event_type AS type, wait_event AS event, current_setting('synchronous_standby_names') AS standbys
         FROM pg_stat_activity WHERE pid = $1`,
      [pid],
    );
    if (state?.event === 'SyncRep')
      return `a synchronous standby to confirm the commit (synchronous_standby_names is ${state.standbys}): start it, or remove it from that list`;
    return state?.type === 'Lock' ? this.waitingForLock(pid) : undefined;
  }

  private async waitingForLock(pid: number): Promise<string | undefined> {
    const [waiting] = await this.query<Waiting>(
      `SELECT l.locktype AS kind, c.relname AS relation, n.nspname AS schema,
              (SELECT array_agg(DISTINCT format('%s (%s)', coalesce(nullif(a.application_name, ''), a.usename, 'a session'),
                                                concat_ws(', ', 'pid ' || a.pid, 'role ' || a.usename, a.state, 'waiting for ' || CASE a.wait_event_type WHEN 'Lock' THEN 'a lock' END)))
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

  /** Cancels a backend's statement, which fails with "canceling statement due to user request". */
  async cancel(pid: number): Promise<void> {
    await this.query('SELECT pg_cancel_backend($1)', [pid]);
  }

  /** See {@link flushLog}: a session cannot do that during its own transaction. */
  flushLog(): Promise<void> {
    return this.ask(flushLog);
  }

  /** Drops the connection at once. */
  destroy(): void {
    this.closed = true;
    this.session?.then(
      (session) => session.destroy(),
      () => undefined, // It was never opened.
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

  /** Runs a question of one or more queries. Each query is a transaction, so that its locks end with it. */
  async ask<Answer>(question: (session: Session) => Promise<Answer>): Promise<Answer> {
    if (this.closed)
      throw new Failure(
        'DATABASE_CONNECTION_LOST',
        'transient',
        'The connection of the observer was closed.',
      );
    const connecting = (this.session ??= this.connect());
    // Another question may have replaced it.
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
