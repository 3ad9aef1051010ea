import type { DaemonStatus } from '#contracts';

/** The few calls that the tools make, as any client would. */
export class Client {
  private token = '';

  constructor(private readonly url: string) {}

  async login(email: string, password: string): Promise<void> {
    const session = await this.call<{ sessionToken: string }>('POST', '/auth/v1/session', {
      email,
      password,
    });
    this.token = session.sessionToken;
  }

  get sessionToken(): string {
    return this.token;
  }

  startBackup(): Promise<DaemonStatus> {
    return this.call('POST', '/repo/v1/startBackupDaemon', {});
  }

  startRestore(url: string): Promise<DaemonStatus> {
    return this.call('POST', '/repo/v1/startRestoreDaemon', { url });
  }

  status(id: string): Promise<DaemonStatus> {
    return this.call('GET', `/repo/v1/daemonStatus/${id}`);
  }

  terminate(id: string): Promise<void> {
    return this.call('DELETE', `/repo/v1/terminateDaemon/${id}`);
  }

  putSchedule(name: string, schedule: object): Promise<void> {
    return this.call('PUT', `/repo/v1/schedules/${name}`, schedule);
  }

  /** Null before the first one. */
  async lastRun(schedule: string): Promise<{ status: string } | null> {
    const { lastRun } = await this.call<{ lastRun: { status: string } | null }>(
      'GET',
      `/repo/v1/schedules/${schedule}`,
    );
    return lastRun;
  }

  private async call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      headers: { 'Content-Type': 'application/json', sessionToken: this.token },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const answer: unknown = text === '' ? undefined : JSON.parse(text);
    if (!response.ok)
      throw new Error(`${method} ${path} answers ${response.status}: ${JSON.stringify(answer)}`);
    return answer as Answer;
  }
}
