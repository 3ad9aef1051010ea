import { Failure } from '#common';
import type { Environment } from './environment.js';
import type { SessionFile } from './session-file.js';

const DEFAULT_URL = 'http://127.0.0.1:8080';

/** A server, and as whom it is called. */
export interface ServerChoice {
  url: string;
  /** Missing before one has logged in. */
  token: string | undefined;
  tokenFrom: 'environment' | 'login';
  /** Whose session it is; not known of a token from the environment. */
  email: string | undefined;
}

/**
 * The server is the one of --url, else of SNAPSHOTD_URL, else the one that was logged in to last. A token from the
 * environment has nothing to do with the last login, and is not sent there unless somebody says so.
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

/** The one way to write a server's address. @throws Failure USAGE_WRONG */
export function serverUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new Failure('USAGE_WRONG', 'permanent', `${JSON.stringify(text)} is no address of a server.`, {
      hint: 'Write it as https://backup.example.org or http://127.0.0.1:8080.',
    });
  if (url.username !== '' || url.password !== '')
    throw new Failure('USAGE_WRONG', 'permanent', "A server's address holds no name and no password.", {
      hint: 'Log in with snapshotd login, or put a token into SNAPSHOTD_TOKEN.',
    });
  return url.origin + url.pathname.replace(/\/+$/, '');
}

/** Whether what is sent there can be read on its way. */
export function isInTheClear(server: string): boolean {
  const { protocol, hostname } = new URL(server);
  return protocol === 'http:' && !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
}

/** Said here, because what fetch says of a header would quote it. @throws Failure USAGE_WRONG */
function sendable(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new Failure('USAGE_WRONG', 'permanent', 'SNAPSHOTD_TOKEN holds no token.', {
    hint: "Put a session's token or an API key into it, without blanks.",
  });
}
