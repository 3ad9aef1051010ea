import { homedir } from 'node:os';

/** Where Debian says that those live who have no home: it never exists. */
const NOWHERE = '/nonexistent';

/**
 * Gives the process a HOME where neither the environment nor the system knows one: containers may run as a user
 * that no file lists. Libraries that look for their files there find none, instead of failing.
 */
export function ensureHome(env: NodeJS.ProcessEnv = process.env): void {
  try {
    homedir();
  } catch {
    env['HOME'] = NOWHERE;
  }
}
