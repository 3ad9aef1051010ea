import { isUtf8 } from 'node:buffer';

const NOTHING = Buffer.alloc(0);

/** Tells whether bytes that come in pieces are valid UTF-8. */
export class Utf8Check {
  private valid = true;
  /** The beginning of a character whose end is in the next piece. */
  private begun: Buffer = NOTHING;

  update(piece: Buffer): void {
    if (!this.valid) return;
    const bytes = this.begun.length === 0 ? piece : Buffer.concat([this.begun, piece]);
    const end = bytes.length - unfinished(bytes);
    this.valid = isUtf8(bytes.subarray(0, end));
    // The piece is its owner's again.
    this.begun = end === bytes.length ? NOTHING : Buffer.from(bytes.subarray(end));
  }

  get isValid(): boolean {
    return this.valid && this.begun.length === 0;
  }
}

/** Bytes at the end that begin a character and do not finish it. */
function unfinished(bytes: Buffer): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const byte = bytes[bytes.length - count] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > count ? count : 0;
  }
  return 0;
}
