import { randomBytes } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorSentence, Failure } from '#common';

export interface DownloadOptions {
  /** Is told how many bytes have come, of how many. */
  onProgress: (done: number, total: number) => void;
  signal: AbortSignal;
}

/** @throws Failure FILE_REFUSED where there is a file already */
export function refuseExisting(file: string): void {
  if (existsSync(file))
    throw new Failure('FILE_REFUSED', 'permanent', `${file} is there already.`, {
      hint: 'Give another name with --output, or --force to replace it.',
    });
}

/**
 * Loads an archive into a file that is there whole or not at all, and that its owner alone may read: it has all rows.
 * @returns its bytes. @throws Failure FILE_REFUSED, OBJECT_INCOMPLETE, and the store's; the signal's reason
 */
export async function downloadFile(address: string, file: string, options: DownloadOptions): Promise<number> {
  // Not called like the file, whose name may be as long as the file system takes.
  const draft = join(dirname(file), `.snapshotd-${randomBytes(4).toString('hex')}.part`);
  try {
    const target = createWriteStream(draft, { flags: 'wx', mode: 0o600, flush: true });
    const bytes = await downloadTo(address, target, options);
    await rename(draft, file);
    return bytes;
  } catch (error) {
    await rm(draft, { force: true });
    options.signal.throwIfAborted();
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (error instanceof Failure || code === undefined || syscall === undefined) throw error;
    throw new Failure('FILE_REFUSED', 'permanent', `${file} cannot be written: ${errorSentence(error)}.`, {
      hint: 'Give another place with --output.',
      cause: error,
    });
  }
}

/** @returns how many bytes it wrote. @throws Failure OBJECT_INCOMPLETE, and the store's; the signal's reason */
export async function downloadTo(
  address: string,
  target: NodeJS.WritableStream,
  { onProgress, signal }: DownloadOptions,
): Promise<number> {
  const response = await open(address, signal);
  const total = Number(response.headers.get('content-length') ?? 0);
  let done = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      done += chunk.length;
      onProgress(done, total);
      next(null, chunk);
    },
  });
  const body = Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
  try {
    await pipeline(body, counted, target, { signal, end: target !== process.stdout });
  } catch (error) {
    signal.throwIfAborted();
    // This is how fetch says that the connection broke.
    throw error instanceof TypeError ? incomplete(done, total, error) : error;
  }
  if (done !== total) throw incomplete(done, total);
  return done;
}

/** The address itself lets one in: no token goes along. */
async function open(address: string, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, { headers: { 'Accept-Encoding': 'identity' }, signal });
  } catch (error) {
    signal.throwIfAborted();
    const { host } = new URL(address);
    const cause = error instanceof TypeError && error.cause !== undefined ? error.cause : error;
    throw new Failure(
      'SERVER_UNREACHABLE',
      'transient',
      `The object store at ${host} cannot be reached from here: ${errorSentence(cause)}.`,
      { hint: "It is the server's S3_ENDPOINT, which this machine must reach too.", cause: error },
    );
  }
  if (response.ok) return response;
  await response.body?.cancel();
  throw new Failure(
    'SERVER_FAILED',
    'transient',
    `The object store at ${new URL(address).host} answers with the status ${response.status}.`,
    { hint: 'Try again in a moment.' },
  );
}

function incomplete(done: number, total: number, cause?: unknown): Failure {
  return new Failure(
    'OBJECT_INCOMPLETE',
    'transient',
    `The connection broke after ${done} of ${total} bytes.`,
    {
      hint: 'Try again.',
      ...(cause !== undefined && { cause }),
    },
  );
}
