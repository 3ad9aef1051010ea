import { hash, verify } from '@node-rs/argon2';
import { neighbourhoodOf } from './network.js';
import { Turns } from './turns.js';

/**
 * Each check takes 19 MiB and one of libuv's four threads, which file access and DNS need too. A flood of logins gets at
 * most two threads, the queue is as short as people's patience, and a flood from one neighbourhood leaves turns to others.
 */
const turns = new Turns(2, 50, 10);

/** Hashes with Argon2id, 19 MiB and two passes: the library's defaults, and OWASP's recommendation. */
export function hashPassword(password: string): Promise<string> {
  return hash(password);
}

/** The hash for unknown accounts, so that their check takes as long as for known ones. */
let nobodysHash: Promise<string> | undefined;

/**
 * Checks a password.
 * @param passwordHash undefined for an unknown account: takes the same time, and never fits
 * @param address the client's
 * @throws NoTurn if too many passwords are waiting to be checked
 */
export async function passwordFits(
  password: string,
  passwordHash: string | undefined,
  address: string,
): Promise<boolean> {
  nobodysHash ??= hashPassword('nobody');
  const heldAgainst = passwordHash ?? (await nobodysHash);
  const fits = await turns.take(neighbourhoodOf(address), () => verify(heldAgainst, password));
  return fits && passwordHash !== undefined;
}
