import { randomBytes } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorSentence, Failure } from '#common';

export interface DownloadOptions {
  /** Called with the bytes received so far and the total. */
  onProgress: (done: number, total: number) => void;
  signal: AbortSignal;
}

/** @throws Failure FILE_REFUSED if the file exists */
export function refuseExisting(file: string): void {
  if (existsSync(file))
    throw new Failure('FILE_REFUSED', 'permanent', `${file} already exists.`, {
      hint: 'Choose another name with --output, or replace it with --force.',
    });
}

/**
 * Downloads an archive into a file that appears only when it is complete. Only its owner may read it, because it holds
 * all rows.
 * @returns its bytes. @throws Failure FILE_REFUSED, OBJECT_INCOMPLETE, and the store's; the signal's reason
 */
export async function downloadFile(address: string, file: string, options: DownloadOptions): Promise<number> {
  // Not derived from the file's name, which may be as long as the file system allows.
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
    throw new Failure('FILE_REFUSED', 'permanent', `Cannot write ${file}: ${errorSentence(error)}.`, {
      hint: 'Choose another file with --output.',
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
    // fetch throws a TypeError if the connection breaks.
    throw error instanceof TypeError ? incomplete(done, total, error) : error;
  }
  if (done !== total) throw incomplete(done, total);
  return done;
}

/** Opens a presigned URL, without a token. */
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
      `Cannot reach the object store at ${host}: ${errorSentence(cause)}.`,
      { hint: "This machine must reach the server's S3_ENDPOINT.", cause: error },
    );
  }
  if (response.ok) return response;
  await response.body?.cancel();
  throw new Failure(
    'SERVER_FAILED',
    'transient',
    `The object store at ${new URL(address).host} answers with status ${response.status}.`,
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
