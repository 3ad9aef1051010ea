import { constants, createDeflateRaw, type DeflateRaw, type ZlibOptions } from 'node:zlib';

/** zlib's output buffers: larger ones mean fewer round trips between its threads and ours. */
const ZLIB_CHUNK_BYTES = 1024 * 1024;

export function zlibOptions(level: number): ZlibOptions {
  return { level, chunkSize: ZLIB_CHUNK_BYTES };
}

/**
 * Compresses whole contents on zlib's threads, any number of them side by side, with compressors that are used again
 * and again: for those of Node's own functions, and the copies that these make of their output, V8 marked its whole heap
 * more than once a second.
 */
export class Deflaters {
  private readonly idle: Deflater[] = [];

  constructor(private readonly level: number) {}

  /** @returns the output, in pieces */
  async deflate(content: Buffer): Promise<Buffer[]> {
    const deflater = this.idle.pop() ?? new Deflater(this.level);
    const pieces = await deflater.deflate(content);
    this.idle.push(deflater);
    return pieces;
  }

  /** Gives their memory back at once. */
  close(): void {
    for (const deflater of this.idle.splice(0)) deflater.close();
  }
}

class Deflater {
  private readonly stream: DeflateRaw;
  private pieces: Buffer[] = [];

  constructor(level: number) {
    this.stream = createDeflateRaw(zlibOptions(level));
    this.stream.on('data', (piece: Buffer) => this.pieces.push(piece));
  }

  async deflate(content: Buffer): Promise<Buffer[]> {
    const { stream } = this;
    await new Promise<void>((resolve, reject) => {
      stream.once('error', reject);
      stream.write(content);
      // Ends zlib's stream, and not Node's, which could not be used again.
      stream.flush(constants.Z_FINISH, () => {
        stream.removeListener('error', reject);
        // Output that waits, should there be any, is this content's: it must not come with the next.
        while (stream.read() !== null);
        resolve();
      });
    });
    stream.reset();
    const { pieces } = this;
    this.pieces = [];
    return pieces;
  }

  close(): void {
    this.stream.close();
  }
}
