import type { Readable } from 'node:stream';
import { invalid } from '../manifest.js';

/** A source of bytes by range, such as an object in a store. */
export interface RangeSource {
  /** Its size in bytes. */
  length: number;
  /** The bytes from `start` to just before `end`; the stream fails if it would end early. */
  read(start: number, end: number): Readable;
}

/**
 * Reads ranges of a source, each over one stream. Consume each result before you request the next.
 */
export class SequentialReader {
  private position = 0;
  private end = 0;
  private stream: AsyncIterator<Buffer> | undefined;
  private rest: Buffer = Buffer.alloc(0);

  /** @param maxGap gaps up to this length are read and discarded, which is faster than opening another stream */
  constructor(
    private readonly source: RangeSource,
    private readonly maxGap: number,
  ) {}

  /**
   * Goes to an offset. Opens a new stream unless the current one reaches the offset soon.
   * @param end the end of a new stream
   */
  async seek(offset: number, end: number): Promise<void> {
    const gap = offset - this.position;
    if (this.stream !== undefined && gap >= 0 && gap <= this.maxGap && offset < this.end) {
      for await (const piece of this.bytes(gap)) void piece;
      return;
    }
    await this.close();
    this.position = offset;
    this.end = end;
  }

  /** The next bytes as one buffer: for small lengths. */
  async take(length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for await (const piece of this.bytes(length)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** The next bytes as they arrive. */
  async *bytes(length: number): AsyncGenerator<Buffer> {
    for (let missing = length; missing > 0;) {
      if (this.rest.length === 0) this.rest = await this.next();
      const piece = this.rest.subarray(0, missing);
      this.rest = this.rest.subarray(piece.length);
      this.position += piece.length;
      missing -= piece.length;
      yield piece;
    }
  }

  async close(): Promise<void> {
    await this.stream?.return?.();
    this.stream = undefined;
    this.rest = Buffer.alloc(0);
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
