import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

export interface ContentChecksums {
  /** Bytes. */
  length: number;
  /** 8 lower-case hexadecimal digits. */
  crc32: string;
  /** 64 lower-case hexadecimal digits. */
  sha256: string;
}

/**
 * Length, CRC-32 and SHA-256 of bytes as they pass. Processors have instructions for both: to hand the bytes to
 * another thread, which Node does with a copy of them, takes longer.
 */
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

/** The same of bytes that are there already. */
export function checksumsOf(content: Uint8Array): ContentChecksums {
  const checksums = new Checksums();
  checksums.update(content);
  return checksums.result();
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}
