import { Checksums, type ManifestEntry } from '#archive';
import type { CopyReceiver } from '#postgres';

/** Compares the rows of one COPY with the entries of an archive. */
export class SameRows implements CopyReceiver {
  private checksums = new Checksums();
  private ended = 0;
  private differs = false;

  constructor(private readonly entries: ManifestEntry[]) {}

  get areSame(): boolean {
    return !this.differs && this.ended === this.entries.length;
  }

  write(bytes: Buffer): undefined {
    this.checksums.update(bytes);
  }

  endEntry(rows: number): undefined {
    const { length, sha256 } = this.checksums.result();
    const entry = this.entries[this.ended++];
    if (entry?.rows !== rows || entry.length !== length || entry.sha256 !== sha256) this.differs = true;
    this.checksums = new Checksums();
  }

  end(rows: number): undefined {
    this.endEntry(rows);
  }
}
