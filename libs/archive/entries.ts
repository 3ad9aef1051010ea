import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

export const MANIFEST_NAME = 'manifest.json';
/** The entry that holds the schema definitions, if the archive has them. */
export const DEFINITIONS_NAME = 'schema.sql';
/** The entry that holds the roles. */
export const ROLES_NAME = 'roles.sql';

/** The entry that lists the large objects with their owners, rights and comments. */
export const LARGE_OBJECTS_NAME = 'large-objects/metadata.csv';

/** The name of an entry with contents of large objects. @param number from 1 */
export function largeObjectsEntryName(number: number): string {
  return `large-objects/${String(number).padStart(6, '0')}.csv`;
}
/** The entry that holds the statements that create the database itself. */
export const DATABASE_NAME = 'database.sql';

/** Entries up to this length are held in memory before they are compressed. Longer ones are compressed as a stream. */
export const ENTRY_MEMORY_BYTES = 8 * 1024 * 1024;

/**
 * The name of a chunk of a table's rows: `data/<schema>.<table>/000001.csv`. Letters and digits of any script,
 * `_` and `-` stay; everything else is percent-encoded, so that the dot in between is the only one.
 * @param chunk from 1
 * @param folder for the rows of an extension's configuration: `configuration`
 */
export function dataEntryName(
  { schema, name }: { schema: string; name: string },
  chunk: number,
  folder: 'data' | 'configuration' = 'data',
): string {
  return `${folder}/${encodeName(schema)}.${encodeName(name)}/${String(chunk).padStart(6, '0')}.csv`;
}

function encodeName(name: string): string {
  return name.replace(/[^\p{L}\p{N}_-]/gu, (character) =>
    [...Buffer.from(character)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
}

export interface ContentChecksums {
  /** Bytes. */
  length: number;
  /** 8 lower-case hexadecimal digits. */
  crc32: string;
  /** 64 lower-case hexadecimal digits. */
  sha256: string;
}

/**
 * Computes length, CRC-32 and SHA-256 of bytes as they pass. This runs on the calling thread: processors have
 * instructions for both, and handing the bytes to another thread copies them, which takes longer.
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

  /** Call it once, at the end. */
  result(): ContentChecksums {
    const crc = this.crc.toString(16).padStart(8, '0');
    return { length: this.length, crc32: crc, sha256: this.hash.digest('hex') };
  }
}

/** Computes the checksums of bytes in memory. */
export function checksumsOf(content: Uint8Array): ContentChecksums {
  const checksums = new Checksums();
  checksums.update(content);
  return checksums.result();
}
