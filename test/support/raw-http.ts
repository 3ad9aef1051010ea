import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  status: number;
  headers: string;
  body: string;
}

/**
 * A connection that sends any bytes as a request, valid or not, and parses the answer. It reconnects if the server has
 * closed it.
 */
export class RawConnection {
  private socket: Socket | undefined;
  private received = '';
  private ended = true;
  private wake: () => void = () => undefined;

  constructor(private readonly port: number) {}

  /**
   * Sends a request and waits for its answer.
   * @returns undefined when the server closed the connection instead
   * @throws Error if there is no answer in time
   */
  async ask(request: Buffer, withinMs: number): Promise<RawAnswer | undefined> {
    if (this.ended || this.received !== '') this.open();
    let hangs = false;
    const hang = setTimeout(() => {
      hangs = true;
      this.close();
      this.wake();
    }, withinMs);
    try {
      this.socket?.write(request);
      const headless = request.subarray(0, 5).toString() === 'HEAD ';
      for (;;) {
        const answer = this.parse(headless);
        if (answer !== undefined) return answer;
        if (hangs) throw new Error(`No answer within ${withinMs} ms to ${request.toString('latin1')}`);
        if (this.ended) return undefined;
        await new Promise<void>((resolve) => (this.wake = resolve));
      }
    } finally {
      clearTimeout(hang);
    }
  }

  close(): void {
    this.ended = true;
    this.socket?.destroy();
  }

  private open(): void {
    this.socket?.destroy();
    this.received = '';
    this.ended = false;
    const socket = connect(this.port, '127.0.0.1');
    this.socket = socket;
    const mine = (change: () => void) => () => {
      if (this.socket !== socket) return;
      change();
      this.wake();
    };
    socket.setNoDelay(true);
    socket.on('data', (bytes) => mine(() => (this.received += bytes.toString('latin1')))());
    socket.on(
      'error',
      mine(() => undefined),
    );
    socket.on(
      'close',
      mine(() => (this.ended = true)),
    );
  }

  /** The answer, once it is there as a whole. */
  private parse(headless: boolean): RawAnswer | undefined {
    const end = this.received.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const headers = this.received.slice(0, end);
    const status = Number(headers.split(' ')[1]);
    // 100 Continue, before the answer.
    if (status === 100) {
      this.received = this.received.slice(end + 4);
      return this.parse(headless);
    }
    const rest = this.received.slice(end + 4);
    const [, length] = /^content-length: (\d+)/im.exec(headers) ?? [];
    const chunked = /^transfer-encoding: chunked/im.test(headers);
    const bodyless = headless || status === 204 || status === 304;
    const wanted = bodyless ? 0 : chunked ? lengthOfChunks(rest) : Number(length ?? 0);
    if (wanted === undefined || rest.length < wanted) return undefined;
    this.received = rest.slice(wanted);
    if (/^connection: close/im.test(headers)) this.ended = true;
    return { status, headers, body: chunked && wanted === NO_CHUNK.length ? '' : rest.slice(0, wanted) };
  }
}

/** The end of a body in chunks, and all of an empty one. */
const NO_CHUNK = '0\r\n\r\n';

function lengthOfChunks(text: string): number | undefined {
  const end = text.indexOf(NO_CHUNK);
  return end < 0 ? undefined : end + NO_CHUNK.length;
}
