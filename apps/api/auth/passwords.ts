import { hash, verify } from '@node-rs/argon2';
import { neighbourhoodOf } from './network.js';
import { Turns } from './turns.js';

/**
 * Each takes 19 MiB and one of libuv's four threads, which files and names of hosts need too. A flood of logins is to
 * keep half of them at most, and to wait for no longer than people do; and a flood from one neighbourhood is to leave
 * turns to all others.
 */
const turns = new Turns(2, 50, 10);

/** Argon2id with the library's defaults, 19 MiB and two passes: what OWASP's password storage cheat sheet asks for. */
export function hashPassword(password: string): Promise<string> {
  return hash(password);
}

/** What passwords for unknown accounts are held against, so that the answer takes as long as for known ones. */
let nobodysHash: Promise<string> | undefined;

/**
 * @param passwordHash undefined for an unknown account: takes the same time, and never fits
 * @param address whose turn it is
 * @throws NoTurn when too many passwords wait to be checked: this one was not
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
