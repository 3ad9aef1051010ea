import { hash, verify } from '@node-rs/argon2';

/** Argon2id with the library's defaults, 19 MiB and two passes: what OWASP's password storage cheat sheet asks for. */
export function hashPassword(password: string): Promise<string> {
  return hash(password);
}

/** What passwords for unknown accounts are held against, so that the answer takes as long as for known ones. */
let nobodysHash: Promise<string> | undefined;

/** @param passwordHash undefined for an unknown account: takes the same time, and never fits */
export async function passwordFits(password: string, passwordHash: string | undefined): Promise<boolean> {
  nobodysHash ??= hashPassword('nobody');
  const fits = await verify(passwordHash ?? (await nobodysHash), password);
  return fits && passwordHash !== undefined;
}
