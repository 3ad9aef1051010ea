import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Secret } from '#config';
import { canonicalJson } from './canonical-json.js';

/** What a code vouches for. A code that was made for one purpose never passes for another. */
export type Purpose =
  'job' | 'job progress' | 'job result' | 'notification' | 'worker' | 'verification record' | 'manifest';

/**
 * Authenticates data that the product writes to places which others can write to as well: the queue and the bucket.
 * Every purpose has a key of its own, derived from SECRET_KEY by HKDF (RFC 5869); a code is an HMAC-SHA-256.
 */
export class Keys {
  private readonly derived = new Map<Purpose, Buffer[]>();

  /** @param secretKeys SECRET_KEY first, which signs; codes by any of the others, which it has replaced, pass too */
  constructor(private readonly secretKeys: readonly Secret[]) {}

  /** The code of some facts: 64 hexadecimal digits. The order of properties does not matter, and undefined ones count as missing. */
  sign(purpose: Purpose, facts: unknown): string {
    const [key] = this.keysFor(purpose);
    if (key === undefined) throw new Error('There is no SECRET_KEY');
    return codeOf(key, facts).toString('hex');
  }

  /** Whether a code was made for these facts, by somebody who has SECRET_KEY or one of its predecessors. */
  verify(purpose: Purpose, facts: unknown, code: unknown): boolean {
    if (typeof code !== 'string' || !/^[0-9a-f]{64}$/.test(code)) return false;
    const given = Buffer.from(code, 'hex');
    return this.keysFor(purpose).some((key) => timingSafeEqual(codeOf(key, facts), given));
  }

  private keysFor(purpose: Purpose): Buffer[] {
    let keys = this.derived.get(purpose);
    if (keys === undefined) {
      keys = this.secretKeys.map((secret) =>
        Buffer.from(hkdfSync('sha256', keyBytes(secret), '', `snapshotd ${purpose}`, 32)),
      );
      this.derived.set(purpose, keys);
    }
    return keys;
  }
}

function codeOf(key: Buffer, facts: unknown): Buffer {
  return createHmac('sha256', key).update(canonicalJson(facts)).digest();
}

/** The settings have checked that it is 32 bytes, in hexadecimal digits or base64. */
function keyBytes(secret: Secret): Buffer {
  const text = secret.reveal();
  return Buffer.from(text, text.length === 64 ? 'hex' : 'base64');
}
