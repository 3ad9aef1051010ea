import { hash, verify } from 'argon2';

/** Argon2id; the library's defaults are above what https://cheatsheetseries.owasp.org asks for. */
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
