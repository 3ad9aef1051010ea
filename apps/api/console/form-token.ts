import { createHmac, timingSafeEqual } from 'node:crypto';
import { hashToken } from '../auth/tokens.js';

/**
 * What each form of a session carries, and no other site knows. It follows from the session's token and does not give
 * it away, so that nothing has to be stored.
 */
export function formToken(sessionToken: string): string {
  return createHmac('sha256', sessionToken).update('form of the console').digest('base64url');
}

/** Hashes are compared, which have one length, and in a time that tells nothing. */
export function isFormToken(given: string, sessionToken: string): boolean {
  return timingSafeEqual(hashToken(given), hashToken(formToken(sessionToken)));
}
