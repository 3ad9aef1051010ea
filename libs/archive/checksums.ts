import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** Length, CRC-32 and SHA-256 of bytes as they pass. */
export class Checksums {
  private readonly hash = createHash('sha256');
  private crc = 0;
  length = 0;

  update(chunk: Uint8Array): void {
    this.hash.update(chunk);
    this.crc = crc32(chunk, this.crc);
    this.length += chunk.length;
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
