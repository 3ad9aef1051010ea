import { homedir } from 'node:os';

/** Debian's home for users without one: it never exists. */
const NOWHERE = '/nonexistent';

/** Variables with the paths of programs and their files. */
const PASSED_ON = ['PATH', 'HOME', 'TMPDIR'];

/**
 * Sets HOME if neither the environment nor the system knows one, as in a container whose user is not in /etc/passwd.
 * Libraries that look for their files there then find none, instead of failing.
 */
export function ensureHome(env: NodeJS.ProcessEnv = process.env): void {
  try {
    homedir();
  } catch {
    env['HOME'] = NOWHERE;
  }
}

/**
 * The environment for PostgreSQL's programs: paths only. Credentials of other systems stay out, and so do variables of
 * libpq (PG…), which could weaken the connection or lead it to another server. Messages are in English, so that code can
 * tell them apart.
 */
export function programEnvironment(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const passed = Object.entries(env).filter(([name]) => PASSED_ON.includes(name));
  return { ...(Object.fromEntries(passed) as Record<string, string>), LC_ALL: 'C' };
}
