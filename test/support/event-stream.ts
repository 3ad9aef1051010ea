import type { DaemonStatus } from '#contracts';
import type { Stack } from './stack.js';

/** A client of a job's events. */
export class EventStream {
  /** Everything received so far. */
  text = '';
  /** Resolves when the stream has ended. */
  readonly ended: Promise<void>;

  private constructor(
    readonly response: Response,
    private readonly stop: AbortController,
  ) {
    this.ended = this.read();
    this.ended.catch(() => undefined); // Only tests that await it handle the error.
  }

  static async open(stack: Stack, id: string, sessionToken = stack.sessionToken): Promise<EventStream> {
    const stop = new AbortController();
    const response = await fetch(`${stack.url}/repo/v1/daemonStatus/${id}/events`, {
      headers: { sessionToken },
      signal: stop.signal,
    });
    return new EventStream(response, stop);
  }

  get statuses(): DaemonStatus[] {
    return [...this.text.matchAll(/^event: status\ndata: (.*)\n\n/gm)].map(
      ([, json = '']) => JSON.parse(json) as DaemonStatus,
    );
  }

  close(): void {
    this.stop.abort();
  }

  private async read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of this.response.body as unknown as AsyncIterable<Uint8Array>)
      this.text += decoder.decode(bytes, { stream: true });
  }
}
