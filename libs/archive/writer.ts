import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';
import { Checksums } from './checksums.js';
import { MANIFEST_NAME } from './entry-names.js';
import { createManifest, type Manifest, type ManifestFacts, type ManifestFile } from './manifest.js';

export interface ArchiveWriterOptions {
  /** zlib's, from 0 (stored) to 9. */
  compressionLevel: number;
  /** Every entry carries it, so that equal data makes equal entries. */
  modifiedAt: Date;
}

/**
 * Writes an archive as FORMAT.md describes it: entries one after the other, the manifest last. Whoever reads
 * `output` sets the pace; nothing is held back but what the streams in between buffer.
 */
export class ArchiveWriter {
  private readonly zip = new ZipFile();

  constructor(private readonly options: ArchiveWriterOptions) {
    // Only yazl's own checks arrive here; they must end up where the archive is read.
    this.zip.on('error', (error: Error) => this.output.destroy(error));
  }

  /** The zip's bytes. Ends after `finish`, fails when an entry fails. */
  get output(): Readable {
    return this.zip.outputStream as Readable;
  }

  /**
   * Adds one entry and waits until its source has been read to the end. The signal gives it up.
   * @throws what the source fails with; the archive is then beyond repair and `output` fails too
   */
  async addEntry(name: string, source: Readable, signal: AbortSignal): Promise<ManifestFile> {
    const checksums = new Checksums();
    const checked = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        checksums.update(chunk);
        done(null, chunk);
      },
    });
    const { compressionLevel, modifiedAt: mtime } = this.options;
    this.zip.addReadStream(checked, name, { compressionLevel, mtime });
    try {
      await pipeline(source, checked, { signal });
    } catch (error) {
      this.output.destroy(error as Error);
      throw error;
    }
    return { name, ...checksums.result() };
  }

  /** Writes the manifest as the last entry and closes the zip. */
  finish(facts: ManifestFacts): Manifest {
    const manifest = createManifest(facts);
    const { compressionLevel, modifiedAt: mtime } = this.options;
    this.zip.addBuffer(Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`), MANIFEST_NAME, {
      compressionLevel,
      mtime,
    });
    this.zip.end();
    return manifest;
  }
}
