import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** The prefix of API keys, by which people and secret scanners recognize one. */
export const KEY_PREFIX = 'snapshotd_';

/** Makes a token of 256 random bits. Nobody guesses it, so it needs no slow hash. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** The hash of a token, which is stored in its place. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Compares two tokens in constant time. */
export function isSameToken(one: string, other: string): boolean {
  return timingSafeEqual(hashToken(one), hashToken(other));
}

/** Derives the token in every form of a session, which no other site knows. */
export function formToken(sessionToken: string): string {
  return createHmac('sha256', sessionToken).update('form of the console').digest('base64url');
}

/** Whether a form comes from a page of this session. */
export function isFormToken(given: string, sessionToken: string): boolean {
  return isSameToken(given, formToken(sessionToken));
}
