import { createHash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { crc32 } from 'node:zlib';

/** Passes bytes on and takes their length, CRC-32 and SHA-256 on the way. */
export class Checksums extends Transform {
  private readonly hash = createHash('sha256');
  private crc = 0;
  length = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.hash.update(chunk);
    this.crc = crc32(chunk, this.crc);
    this.length += chunk.length;
    done(null, chunk);
  }

  /** To be called once, after the end. */
  result(): { length: number; crc32: string; sha256: string } {
    return {
      length: this.length,
      crc32: this.crc.toString(16).padStart(8, '0'),
      sha256: this.hash.digest('hex'),
    };
  }
}
