/** Where programs and their files are. */
const PASSED_ON = ['PATH', 'HOME', 'TMPDIR'];

/**
 * The environment for a program of PostgreSQL that we start: where programs are, and neither the credentials of other
 * systems nor variables of libpq (PG…), which could weaken its connection or lead it elsewhere. Its messages are in
 * English, so that they can be told apart.
 */
export function programEnvironment(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const passed = Object.entries(env).filter(([name]) => PASSED_ON.includes(name));
  return { ...(Object.fromEntries(passed) as Record<string, string>), LC_ALL: 'C' };
}
