import { randomUUID } from 'node:crypto';
import { errorSentence, Failure, retry, type RetryOptions } from '#common';
import {
  type Archive,
  type DaemonState,
  type DaemonStatus,
  type KeptDatabaseView,
  type MissingWorker,
  type PruningPlanView,
  type RepositoryCheck,
  type RestorePreview,
  type ScheduleRequest,
  type ScheduleView,
  type WorkerView,
} from '#contracts';
import { ServerSentEvents } from './server-sent-events.js';
import type { ServerChoice } from './server-choice.js';

/** Longer than the API waits for its object store: 30 seconds. */
const ANSWER_WITHIN_MS = 45_000;
/** The API sends something at least every 15 seconds. */
const SILENCE_MS = 40_000;
/** The codes that fetch gives a connection that was made and then broke. */
const LOST = ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'];
const UNTRUSTED = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

export type DaemonKind = 'Backup' | 'Restore' | 'Verify';

export interface Page {
  limit: number;
  offset: number;
}

interface Call {
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/**
 * The server's calls. All of them throw Failure: the transient SERVER_UNREACHABLE, CONNECTION_LOST and SERVER_FAILED,
 * and SESSION_MISSING, NOT_FOUND and REQUEST_REFUSED with the server's own reason.
 */
export class Api {
  constructor(readonly server: ServerChoice) {}

  login(email: string, password: string): Promise<{ displayName: string; sessionToken: string }> {
    return this.json('POST', '/auth/v1/session', { body: { email, password } });
  }

  async logout(sessionToken: string): Promise<void> {
    await this.send('DELETE', '/auth/v1/session', { body: { sessionToken } });
  }

  /**
   * Starts one job, however often the connection breaks. If the reply is lost, it sends the request again with the same
   * idempotency key.
   */
  async start(
    kind: DaemonKind,
    body: object,
    retries: Pick<RetryOptions, 'retryForMs' | 'onTrouble'>,
  ): Promise<DaemonStatus> {
    const call = { body, headers: { 'Idempotency-Key': randomUUID() } };
    const send = () => this.json<DaemonStatus>('POST', `/repo/v1/start${kind}Daemon`, call);
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'CONNECTION_LOST') throw error;
    }
    try {
      return await retry(send, retries);
    } catch (error) {
      if (error instanceof Failure && error.persistence === 'transient')
        throw error.and('The server may have started the job. Check with: snapshotd list --daemons');
      throw error;
    }
  }

  /** @param signal ends the call early */
  status(id: string, signal?: AbortSignal): Promise<DaemonStatus> {
    return this.json('GET', `/repo/v1/daemonStatus/${encodeURIComponent(id)}`, { signal });
  }

  /** Yields each status as it arrives, until the job ends or the server stops. @throws the signal's reason */
  async *statuses(id: string, signal: AbortSignal): AsyncGenerator<DaemonStatus> {
    const silent = new AbortController();
    const timer = setTimeout(() => silent.abort(new Error('the server sends nothing')), SILENCE_MS);
    const stop = AbortSignal.any([signal, silent.signal]);
    try {
      const response = await this.fetch(
        'GET',
        `/repo/v1/daemonStatus/${encodeURIComponent(id)}/events`,
        {},
        stop,
      );
      const events = new ServerSentEvents();
      const decoder = new TextDecoder();
      for await (const bytes of bodyOf(response)) {
        timer.refresh();
        for (const { type, data } of events.push(decoder.decode(bytes, { stream: true })))
          if (type === 'status') yield JSON.parse(data) as DaemonStatus;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw this.unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  daemons(
    { limit, offset }: Page,
    status?: DaemonState,
  ): Promise<{ daemons: DaemonStatus[]; total: number }> {
    const only = status === undefined ? '' : `&status=${status}`;
    return this.json('GET', `/repo/v1/daemons?limit=${limit}&offset=${offset}${only}`);
  }

  /** @returns the status of the job if no worker answers in time */
  check(repository: string): Promise<RepositoryCheck | DaemonStatus> {
    return this.json('POST', '/repo/v1/check', { body: { repository } });
  }

  newestCheck(repository: string): Promise<RepositoryCheck> {
    return this.json('GET', `/repo/v1/check?repository=${encodeURIComponent(repository)}`);
  }

  /** @returns the status of the job if no worker answers in time */
  restorePlan(body: object): Promise<RestorePreview | DaemonStatus> {
    return this.json('POST', '/repo/v1/restorePlan', { body });
  }

  async terminate(id: string): Promise<void> {
    await this.send('DELETE', `/repo/v1/terminateDaemon/${encodeURIComponent(id)}`);
  }

  archives({ limit, offset }: Page): Promise<{ backups: Archive[]; total: number }> {
    return this.json('GET', `/repo/v1/backups?limit=${limit}&offset=${offset}`);
  }

  async deleteArchive(name: string): Promise<void> {
    await this.send('DELETE', `/repo/v1/backups/${encodeURIComponent(name)}`);
  }

  /** Gives a presigned URL of the object store, which needs no token. */
  async downloadUrl(name: string): Promise<string> {
    const response = await this.send('GET', `/repo/v1/backups/${encodeURIComponent(name)}/download`);
    return response.headers.get('location') ?? '';
  }

  databases(): Promise<{ databases: KeptDatabaseView[] }> {
    return this.json('GET', '/repo/v1/databases');
  }

  dropDatabase(name: string): Promise<DaemonStatus> {
    return this.json('DELETE', `/repo/v1/databases/${encodeURIComponent(name)}`);
  }

  workers(): Promise<{ workers: WorkerView[]; missing: MissingWorker[] }> {
    return this.json('GET', '/repo/v1/workers');
  }

  schedules(): Promise<{ schedules: ScheduleView[] }> {
    return this.json('GET', '/repo/v1/schedules');
  }

  schedule(name: string): Promise<ScheduleView> {
    return this.json('GET', `/repo/v1/schedules/${encodeURIComponent(name)}`);
  }

  setSchedule(name: string, schedule: Partial<ScheduleRequest>): Promise<ScheduleView> {
    return this.json('PUT', `/repo/v1/schedules/${encodeURIComponent(name)}`, { body: schedule });
  }

  confirmSchedule(name: string): Promise<ScheduleView> {
    return this.json('POST', `/repo/v1/schedules/${encodeURIComponent(name)}/confirm`, { body: {} });
  }

  runSchedule(name: string): Promise<ScheduleView> {
    return this.json('POST', `/repo/v1/schedules/${encodeURIComponent(name)}/run`, { body: {} });
  }

  async deleteSchedule(name: string): Promise<void> {
    await this.send('DELETE', `/repo/v1/schedules/${encodeURIComponent(name)}`);
  }

  pruning(name: string): Promise<PruningPlanView> {
    return this.json('GET', `/repo/v1/schedules/${encodeURIComponent(name)}/pruning`);
  }

  private async json<Answer>(method: string, path: string, call: Call = {}): Promise<Answer> {
    const response = await this.send(method, path, call);
    const text = await this.textOf(response);
    try {
      return JSON.parse(text) as Answer;
    } catch {
      throw this.stranger('does not answer with JSON');
    }
  }

  private send(method: string, path: string, call: Call = {}): Promise<Response> {
    const inTime = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const stop = call.signal === undefined ? inTime : AbortSignal.any([inTime, call.signal]);
    return this.fetch(method, path, call, stop);
  }

  private async fetch(
    method: string,
    path: string,
    { body, headers }: Call,
    signal: AbortSignal,
  ): Promise<Response> {
    const { url, token } = this.server;
    let response: Response;
    try {
      response = await fetch(url + path, {
        method,
        // A redirect must not take this server's token to another one.
        redirect: 'manual',
        headers: {
          ...(token !== undefined && { sessionToken: token }),
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
          ...headers,
        },
        signal,
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw this.unreachable(error);
    }
    if (response.ok) return response;
    if (response.status >= 300 && response.status < 400) {
      if (path.endsWith('/download')) return response;
      throw this.stranger('redirects to another address');
    }
    throw this.refusal(response.status, reasonIn(await this.textOf(response)));
  }

  private async textOf(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch (error) {
      throw this.unreachable(error);
    }
  }

  private refusal(status: number, reason: string | undefined): Failure {
    const { url, token, tokenFrom } = this.server;
    const said = reason ?? `${url} answers with status ${status}.`;
    if (status === 401 && token === undefined && reason !== undefined)
      return new Failure('SESSION_MISSING', 'permanent', said);
    if (status === 401)
      return tokenFrom === 'environment'
        ? new Failure(
            'SESSION_MISSING',
            'permanent',
            `${url} does not accept the token in SNAPSHOTD_TOKEN.`,
            {
              hint: 'It has expired, was revoked, or belongs to another server. Set a new one.',
            },
          )
        : new Failure('SESSION_MISSING', 'permanent', `The session at ${url} has expired.`, {
            hint: `Log in again: snapshotd login --url ${url}`,
          });
    if (status === 403) return new Failure('SESSION_MISSING', 'permanent', said);
    if (status === 404) return new Failure('NOT_FOUND', 'permanent', said);
    if (status >= 500) return new Failure('SERVER_FAILED', 'transient', said);
    // 409: the server may not have decided an earlier try of the same start.
    return new Failure('REQUEST_REFUSED', status === 409 ? 'transient' : 'permanent', said);
  }

  private unreachable(error: unknown): Failure {
    if (error instanceof Failure) return error;
    const { url } = this.server;
    const cause = error instanceof TypeError && error.cause !== undefined ? error.cause : error;
    const { code = '', name = '' } = cause as { code?: string; name?: string };
    if (LOST.includes(code) || name === 'TimeoutError')
      return new Failure(
        'CONNECTION_LOST',
        'transient',
        `The connection to ${url} broke: ${errorSentence(cause)}.`,
        {
          cause: error,
        },
      );
    return new Failure('SERVER_UNREACHABLE', 'transient', `Cannot reach ${url}: ${errorSentence(cause)}.`, {
      hint: UNTRUSTED.includes(code)
        ? "Set NODE_EXTRA_CA_CERTS to a file with the certificate of the server's authority."
        : 'Check that snapshotd runs there, or set another address with --url or SNAPSHOTD_URL.',
      cause: error,
    });
  }

  private stranger(what: string): Failure {
    return new Failure('SERVER_FAILED', 'permanent', `${this.server.url} ${what}: it is not snapshotd.`, {
      hint: 'Check the address, or set another one with --url or SNAPSHOTD_URL.',
    });
  }
}

/** @returns undefined if the text is not an error of snapshotd, but for example a proxy's page */
function reasonIn(text: string): string | undefined {
  try {
    const { reason } = JSON.parse(text) as { reason?: unknown };
    return typeof reason === 'string' ? reason : undefined;
  } catch {
    return undefined;
  }
}

function bodyOf(response: Response): AsyncIterable<Uint8Array> {
  return response.body as unknown as AsyncIterable<Uint8Array>;
}
