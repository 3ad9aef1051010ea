import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { Secret } from '#config';

/** The kind of facts that a code authenticates. A code for one purpose never passes for another. */
export type Purpose =
  'job' | 'job progress' | 'job result' | 'notification' | 'worker' | 'verification record' | 'manifest';

/** AES-256-GCM, with a random nonce for each text. */
const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Authenticates data in the queue and the bucket, which others can write to as well, and seals secrets. HKDF (RFC 5869)
 * derives a key for each purpose from SECRET_KEY. A code is an HMAC-SHA-256.
 */
export class Keys {
  private readonly derived = new Map<Purpose | 'sealed secret', Buffer[]>();

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

  /**
   * Encrypts a secret with SECRET_KEY.
   * @param context the thing that the secret belongs to: it opens as that of no other thing
   * @returns base64 of nonce, tag and ciphertext
   */
  seal(context: string, secret: Secret): string {
    const [key] = this.keysFor('sealed secret');
    if (key === undefined) throw new Error('SECRET_KEY is missing');
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, key, nonce).setAAD(Buffer.from(context));
    const text = Buffer.concat([cipher.update(secret.reveal(), 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64');
  }

  /** @returns undefined unless the secret was sealed for this context with SECRET_KEY or one of its predecessors */
  open(context: string, sealed: string): Secret | undefined {
    const bytes = Buffer.from(sealed, 'base64');
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
    const nonce = bytes.subarray(0, NONCE_BYTES);
    const tag = bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
    for (const key of this.keysFor('sealed secret')) {
      const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(context)).setAuthTag(tag);
      try {
        const text = decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES));
        return new Secret(Buffer.concat([text, decipher.final()]).toString('utf8'));
      } catch {
        continue; // Another key sealed it, or nobody who has one.
      }
    }
    return undefined;
  }

  private keysFor(purpose: Purpose | 'sealed secret'): Buffer[] {
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
