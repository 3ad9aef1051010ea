import { hasEnded, pollUntil } from '#common';
import type { DaemonStatus } from '#contracts';

export interface Answer<Body> {
  status: number;
  headers: Headers;
  body: Body;
}

/** An HTTP client of the API for tools and tests. */
export class Client {
  sessionToken = '';

  constructor(readonly url: string) {}

  /** Logs in and uses the session from then on. @returns its token */
  async login({ email, password }: { email: string; password: string }): Promise<string> {
    const { body } = await this.call<{ sessionToken: string }>('POST', '/auth/v1/session', {
      email,
      password,
    });
    this.sessionToken = body.sessionToken;
    return this.sessionToken;
  }

  /** Sends a request and gives the answer, whatever its status. @param body text as it is, or data to send as JSON */
  async call<Body = { reason: string }>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = { sessionToken: this.sessionToken },
  ): Promise<Answer<Body>> {
    const response = await fetch(this.url + path, {
      method,
      headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = (response.headers.get('content-type') ?? '').includes('json');
    return {
      status: response.status,
      headers: response.headers,
      body: (isJson && text !== '' ? JSON.parse(text) : text) as Body,
    };
  }

  /** Sends a request and gives the body of the answer. @throws Error unless the status is 2xx */
  async ask<Body>(method: string, path: string, body?: unknown): Promise<Body> {
    const answer = await this.call<Body>(method, path, body);
    if (answer.status >= 300)
      throw new Error(`${method} ${path} answers ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async startBackup(): Promise<DaemonStatus> {
    return (await this.call<DaemonStatus>('POST', '/repo/v1/startBackupDaemon', {})).body;
  }

  async startRestore(url: string): Promise<DaemonStatus> {
    return (await this.call<DaemonStatus>('POST', '/repo/v1/startRestoreDaemon', { url })).body;
  }

  async status(id: string): Promise<DaemonStatus> {
    return (await this.call<DaemonStatus>('GET', `/repo/v1/daemonStatus/${id}`)).body;
  }

  /** Polls a job's status until it ends or the condition holds. @returns all statuses seen */
  async watch(
    id: string,
    until: (status: DaemonStatus) => boolean = hasEnded,
    { everyMs = 50, signal }: { everyMs?: number; signal?: AbortSignal } = {},
  ): Promise<DaemonStatus[]> {
    const seen: DaemonStatus[] = [];
    const look = async () => {
      const status = await this.status(id);
      seen.push(status);
      return until(status) || hasEnded(status) ? status : undefined;
    };
    await pollUntil(look, { everyMs, timeoutMs: Infinity, signal });
    return seen;
  }

  /** Polls a job's status until it ends. @returns the last one */
  async finished(id: string, everyMs = 100): Promise<DaemonStatus> {
    const last = (await this.watch(id, hasEnded, { everyMs })).at(-1);
    if (last === undefined) throw new Error(`There is no status of job ${id}`);
    return last;
  }
}
