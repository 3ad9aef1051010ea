import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { errorSentence, Failure } from '#common';
import type { RangeSource } from './range-source.js';

const { O_NONBLOCK, O_RDONLY } = constants;
const CHUNK_BYTES = 256 * 1024;

/** A local file. Reading fails if the file changes meanwhile. */
export class FileSource implements RangeSource {
  readonly length: number;

  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    private readonly opened: Version,
  ) {
    this.length = Number(opened.size);
  }

  /** @throws Failure FILE_REFUSED */
  static async open(path: string): Promise<FileSource> {
    let handle: FileHandle | undefined;
    try {
      // Opening a named pipe would wait for its writer.
      handle = await open(path, O_RDONLY | O_NONBLOCK);
      const stat = await handle.stat({ bigint: true });
      if (!stat.isFile())
        throw refused(`${path} is ${stat.isDirectory() ? 'a directory' : 'no regular file'}.`);
      if (stat.size === 0n) throw refused(`${path} is empty.`);
      return new FileSource(path, handle, stat);
    } catch (error) {
      await handle?.close();
      throw error instanceof Failure
        ? error
        : refused(`Cannot read ${path}: ${errorSentence(error)}.`, error);
    }
  }

  read(start: number, end: number): Readable {
    return Readable.from(this.chunks(start, end), { objectMode: false });
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  private async *chunks(start: number, end: number): AsyncGenerator<Buffer> {
    for (let position = start; position < end;) {
      const chunk = await this.chunk(position, Math.min(CHUNK_BYTES, end - position));
      position += chunk.length;
      yield chunk;
    }
  }

  private async chunk(position: number, length: number): Promise<Buffer> {
    let bytes: Buffer;
    let now: Version;
    try {
      const result = await this.handle.read(Buffer.allocUnsafe(length), 0, length, position);
      bytes = result.buffer.subarray(0, result.bytesRead);
      now = await this.handle.stat({ bigint: true });
    } catch (error) {
      throw refused(`Cannot read ${this.path}: ${errorSentence(error)}.`, error);
    }
    if (bytes.length === 0 || now.size !== this.opened.size || now.mtimeNs !== this.opened.mtimeNs)
      throw refused(`${this.path} changed while it was read.`);
    return bytes;
  }
}

/** Tells whether somebody wrote to the file. */
interface Version {
  size: bigint;
  mtimeNs: bigint;
}

function refused(message: string, cause?: unknown): Failure {
  return new Failure('FILE_REFUSED', 'permanent', message, {
    hint: 'Name the file of a complete archive, or s3://bucket/key.',
    ...(cause !== undefined && { cause }),
  });
}
