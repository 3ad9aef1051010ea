import { isUtf8 } from 'node:buffer';

const NOTHING = Buffer.alloc(0);

/** Checks whether bytes that arrive in pieces are valid UTF-8. */
export class Utf8Check {
  private valid = true;
  /** The first bytes of a character that ends in the next piece. */
  private incomplete: Buffer = NOTHING;

  update(piece: Buffer): void {
    if (!this.valid) return;
    const bytes = this.incomplete.length === 0 ? piece : Buffer.concat([this.incomplete, piece]);
    const end = bytes.length - unfinished(bytes);
    this.valid = isUtf8(bytes.subarray(0, end));
    // The caller reuses the piece's buffer.
    this.incomplete = end === bytes.length ? NOTHING : Buffer.from(bytes.subarray(end));
  }

  get isValid(): boolean {
    return this.valid && this.incomplete.length === 0;
  }
}

/** The number of bytes at the end that begin a character without finishing it. */
function unfinished(bytes: Buffer): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const byte = bytes[bytes.length - count] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > count ? count : 0;
  }
  return 0;
}
