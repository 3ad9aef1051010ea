import { isAbsolute, join } from 'node:path';

/** What the command line reads from the environment. What is empty counts as missing. */
export interface Environment {
  /** Where the server is, unless --url says it. */
  url: string | undefined;
  /** A session's token or an API key, instead of what `login` keeps. */
  token: string | undefined;
  /** Where programs of this user keep what they are told to remember. */
  configFolder: string | undefined;
}

export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const { HOME: home, XDG_CONFIG_HOME: configHome } = env;
  return {
    url: env['SNAPSHOTD_URL'] || undefined,
    token: env['SNAPSHOTD_TOKEN']?.trim() || undefined,
    configFolder:
      // The XDG specification says to ignore what is relative.
      configHome && isAbsolute(configHome) ? configHome : home ? join(home, '.config') : undefined,
  };
}
