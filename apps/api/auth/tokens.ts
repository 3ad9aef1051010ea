import { createHash, randomBytes } from 'node:crypto';

/** 256 random bits: what nobody guesses, and what therefore needs no slow hash. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** What is stored of a token. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
