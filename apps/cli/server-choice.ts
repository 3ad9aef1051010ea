import { Failure } from '#common';
import type { Environment } from './environment.js';
import type { SessionFile } from './session-file.js';

const DEFAULT_URL = 'http://127.0.0.1:8080';

/** A server and the account to use there. */
export interface ServerChoice {
  url: string;
  /** Missing before the first login. */
  token: string | undefined;
  tokenFrom: 'environment' | 'login';
  /** The account of the session; unknown for a token from the environment. */
  email: string | undefined;
}

/**
 * Chooses the server: --url, else SNAPSHOTD_URL, else the server of the last login. A token from the environment does
 * not go to the server of the last login unless --url or SNAPSHOTD_URL names that.
 * @throws Failure USAGE_WRONG, SESSION_MISSING, FILE_REFUSED
 */
export function chooseServer(
  urlOption: string | undefined,
  environment: Environment,
  sessions: SessionFile,
): ServerChoice {
  const { token } = environment;
  const named = urlOption ?? environment.url;
  if (token !== undefined)
    return {
      url: serverUrl(named ?? DEFAULT_URL),
      token: sendable(token),
      tokenFrom: 'environment',
      email: undefined,
    };
  const url = serverUrl(named ?? sessions.last ?? DEFAULT_URL);
  const session = sessions.find(url);
  return { url, token: session?.token, tokenFrom: 'login', email: session?.email };
}

/** Normalizes a server's address. @throws Failure USAGE_WRONG */
export function serverUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // Not quoted: it may hold a password.
  if (url?.protocol.startsWith('postgres'))
    throw new Failure(
      'USAGE_WRONG',
      'permanent',
      "--url is the address of snapshotd, not a database's URL.",
      {
        hint: 'See snapshotd repository set --help.',
      },
    );
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new Failure('USAGE_WRONG', 'permanent', `${JSON.stringify(text)} is not a server's address.`, {
      hint: 'Use the form https://backup.example.org or http://127.0.0.1:8080.',
    });
  if (url.username !== '' || url.password !== '')
    throw new Failure(
      'USAGE_WRONG',
      'permanent',
      "A server's address must not contain a name or a password.",
      {
        hint: 'Log in with snapshotd login, or set SNAPSHOTD_TOKEN to a token.',
      },
    );
  return url.origin + url.pathname.replace(/\/+$/, '');
}

/** Whether the connection to a server is not encrypted and leaves this machine. */
export function isInTheClear(server: string): boolean {
  const { protocol, hostname } = new URL(server);
  return protocol === 'http:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

/** Checks the token here, because fetch would quote it in its error. @throws Failure USAGE_WRONG */
function sendable(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new Failure('USAGE_WRONG', 'permanent', 'SNAPSHOTD_TOKEN is not a valid token.', {
    hint: 'Set it to a session token or an API key, without spaces.',
  });
}
