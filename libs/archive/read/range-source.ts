import type { Readable } from 'node:stream';
import { invalid } from '../manifest.js';

/** Something that bytes can be read from by range, such as an object in a store. */
export interface RangeSource {
  /** Bytes in all. */
  length: number;
  /** The bytes from `start` to just before `end`; the stream fails rather than end early. */
  read(start: number, end: number): Readable;
}

/**
 * Reads ranges of a source, each over one stream. What is asked for must be taken before more is asked for.
 */
export class SequentialReader {
  private position = 0;
  private end = 0;
  private stream: AsyncIterator<Buffer> | undefined;
  private left: Buffer = Buffer.alloc(0);

  /** @param passedOver so many bytes are rather read and thrown away than another stream is opened */
  constructor(
    private readonly source: RangeSource,
    private readonly passedOver: number,
  ) {}

  /**
   * Goes to an offset. A new stream is opened unless the present one leads there soon.
   * @param end where reading ahead stops, should a new one be opened
   */
  async seek(offset: number, end: number): Promise<void> {
    const gap = offset - this.position;
    if (this.stream !== undefined && gap >= 0 && gap <= this.passedOver && offset < this.end) {
      for await (const part of this.bytes(gap)) void part;
      return;
    }
    await this.close();
    this.position = offset;
    this.end = end;
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
