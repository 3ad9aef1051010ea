import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Secret } from '#config';

/** The kind of facts that a code authenticates. A code for one purpose never passes for another. */
export type Purpose =
  'job' | 'job progress' | 'job result' | 'notification' | 'worker' | 'verification record' | 'manifest';

/**
 * Authenticates data in the queue and the bucket, which others can write to as well. HKDF (RFC 5869) derives a key for
 * each purpose from SECRET_KEY. A code is an HMAC-SHA-256.
 */
export class Keys {
  private readonly derived = new Map<Purpose, Buffer[]>();

  /** @param secretKeys SECRET_KEY, which signs, then its predecessors, whose codes pass too */
  constructor(private readonly secretKeys: readonly Secret[]) {}

  /** The code of some facts: 64 hexadecimal digits. Ignores the order of properties and undefined properties. */
  sign(purpose: Purpose, facts: unknown): string {
    const [key] = this.keysFor(purpose);
    if (key === undefined) throw new Error('SECRET_KEY is missing');
    return codeOf(key, facts).toString('hex');
  }

  /** Whether a code was made for these facts with SECRET_KEY or one of its predecessors. */
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

/** The bytes of a key. The settings have checked that they are 32, in hexadecimal digits or base64. */
function keyBytes(secret: Secret): Buffer {
  const text = secret.reveal();
  return Buffer.from(text, text.length === 64 ? 'hex' : 'base64');
}

/** JSON with properties sorted by name, so that equal values have equal texts. PostgreSQL's jsonb changes their order. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_name, part: unknown) =>
    isRecord(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
