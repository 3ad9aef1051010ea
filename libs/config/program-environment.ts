/** Beside libpq's own variables, whose names begin with PG. */
const PASSED_ON = ['PATH', 'HOME', 'TMPDIR'];

/**
 * The environment for a program of PostgreSQL that we start: where programs are, and libpq's own variables. Not
 * the credentials of other systems. Its messages are in English, so that they can be told apart.
 */
export function programEnvironment(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const passed = Object.entries(env).filter(([name]) => PASSED_ON.includes(name) || name.startsWith('PG'));
  return { ...(Object.fromEntries(passed) as Record<string, string>), LC_ALL: 'C' };
}
