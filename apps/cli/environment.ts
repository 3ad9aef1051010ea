import { isAbsolute, join } from 'node:path';

/** The command line's environment variables. An empty one counts as missing. */
export interface Environment {
  /** The server, unless --url names one. */
  url: string | undefined;
  /** A session token or an API key, instead of the session that `login` keeps. */
  token: string | undefined;
  /** The user's folder for configuration. */
  configFolder: string | undefined;
}

export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const { HOME: home, XDG_CONFIG_HOME: configHome } = env;
  return {
    url: env['SNAPSHOTD_URL'] || undefined,
    token: env['SNAPSHOTD_TOKEN']?.trim() || undefined,
    configFolder:
      // The XDG specification says to ignore a relative path.
      configHome && isAbsolute(configHome) ? configHome : home ? join(home, '.config') : undefined,
  };
}

/** The value of a variable that the user has named. @returns undefined if it is missing or empty */
export function readVariable(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  return env[name]?.trim() || undefined;
}
