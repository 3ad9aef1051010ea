import type { Readable } from 'node:stream';
import { invalid } from './manifest.js';

/** Something that bytes can be read from by range, such as an object in a store. */
export interface RangeSource {
  /** Bytes in all. */
  length: number;
  /** The bytes from `start` to just before `end`; the stream fails rather than end early. */
  read(start: number, end: number): Readable;
}

/**
 * Reads a source from front to back over one stream, and opens another one only to jump. What is asked for
 * must be taken before more is asked for.
 */
export class SequentialReader {
  private position = 0;
  private stream: AsyncIterator<Buffer> | undefined;
  private left: Buffer = Buffer.alloc(0);

  constructor(
    private readonly source: RangeSource,
    /** Where reading ahead stops. */
    private readonly end: number,
  ) {}

  /** Goes to an offset; free when it is the present one. */
  async seek(offset: number): Promise<void> {
    if (this.stream !== undefined && offset === this.position) return;
    await this.close();
    this.position = offset;
  }

  /** The next so many bytes as one buffer: for small numbers. */
  async take(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const part of this.bytes(length)) parts.push(part);
    return Buffer.concat(parts);
  }

  /** The next so many bytes as they come. */
  async *bytes(length: number): AsyncGenerator<Buffer> {
    for (let missing = length; missing > 0;) {
      if (this.left.length === 0) this.left = await this.next();
      const part = this.left.subarray(0, missing);
      this.left = this.left.subarray(part.length);
      this.position += part.length;
      missing -= part.length;
      yield part;
    }
  }

  async close(): Promise<void> {
    await this.stream?.return?.();
    this.stream = undefined;
    this.left = Buffer.alloc(0);
  }

  private async next(): Promise<Buffer> {
    if (this.position >= this.end) throw invalid('it ends too early');
    this.stream ??= this.source
      .read(this.position, this.end)
      [Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const result = await this.stream.next();
    if (result.done === true) throw invalid('it ends too early');
    return result.value;
  }
}
