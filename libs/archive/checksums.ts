import { createHash, webcrypto } from 'node:crypto';
import { crc32 } from 'node:zlib';

export interface ContentChecksums {
  /** Bytes. */
  length: number;
  /** 8 lower-case hexadecimal digits. */
  crc32: string;
  /** 64 lower-case hexadecimal digits. */
  sha256: string;
}

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
  result(): ContentChecksums {
    return { length: this.length, crc32: hex(this.crc), sha256: this.hash.digest('hex') };
  }
}

/** What is shorter than this is done before another thread would have begun with it. */
export const SMALL_BYTES = 32 * 1024;

/** The same of bytes that are there already; SHA-256 of many bytes is made on another thread. */
export async function checksumsOf(content: Buffer): Promise<ContentChecksums> {
  const digest =
    content.length < SMALL_BYTES
      ? createHash('sha256').update(content).digest()
      : Buffer.from(await webcrypto.subtle.digest('SHA-256', content));
  return { length: content.length, crc32: hex(crc32(content)), sha256: digest.toString('hex') };
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}
