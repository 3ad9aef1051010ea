import { z } from 'zod';

const SCHEME = /^postgres(ql)?:\/\//;
/** Parameters of libpq that override the server of the URL. */
const LEADING_ELSEWHERE = ['service', 'servicefile', 'hostaddr'];

const NO_HOST = /^(\w+:\/\/[^/?#]*@)(?=(:\d+)?([/?]|$))/;

/** Whether a setting that may name other kinds of server names a PostgreSQL server. */
export function isPostgresUrl(text: string): boolean {
  return SCHEME.test(text);
}

/**
 * A PostgreSQL URL as libpq takes it, without the features that node-postgres lacks. A URL without a host beside its
 * credentials, as libpq takes it for Unix sockets (`postgres://user@/app?host=/run/postgresql`), gets one.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
export const postgresUrl = z.string().transform((text, context) => {
  const fault = faultOf(text);
  if (fault === undefined) return withHost(text);
  context.addIssue({ code: 'custom', message: fault });
  return z.NEVER;
});

/** The server, database and user of a checked URL, as libpq reads it, without the password. */
export function targetOf(url: string): { host: string; port: number; database: string; user: string } {
  const { username, hostname, port, pathname, searchParams } = new URL(url);
  const user = searchParams.get('user') ?? decodeURIComponent(username);
  const database = decodeURIComponent(pathname.slice(1));
  return {
    host: searchParams.get('host') ?? decodeURIComponent(hostname),
    port: Number(searchParams.get('port') ?? (port || 5432)),
    database: database === '' ? user : database,
    user,
  };
}

/** Says why a URL is refused. The message shows nothing of it, because it may hold credentials. */
function faultOf(text: string): string | undefined {
  const example = 'must be a URL such as postgres://user:password@host:5432/database';
  if (!SCHEME.test(text)) return example;
  if (/%(?![0-9a-f]{2})/i.test(text))
    return 'has a % without two hexadecimal digits after it: write it as %25';
  const { authority = '' } = /^\w+:\/\/(?<authority>[^/?#]*)/.exec(text)?.groups ?? {};
  if (/,/.test(authority.slice(authority.lastIndexOf('@') + 1))) return SEVERAL;
  const whole = withHost(text);
  if (!URL.canParse(whole))
    return `${example}; in user and password write # as %23, / as %2F, ? as %3F, @ as %40, : as %3A and % as %25`;
  const { username, password, hostname, pathname, searchParams, hash } = new URL(whole);
  if (hash !== '') return 'has a #, which begins a fragment that no server sees: write it as %23';
  if (![username, password, hostname, pathname].every(isUtf8))
    return 'has percent-escapes that are not UTF-8: encode the characters in UTF-8';
  if (['host', 'port'].some((name) => searchParams.getAll(name).some((value) => value.includes(','))))
    return SEVERAL;
  const elsewhere = LEADING_ELSEWHERE.find((name) => searchParams.has(name));
  if (elsewhere !== undefined) return `has the parameter ${elsewhere}, which is not supported: name the host`;
  if ((searchParams.get('target_session_attrs') ?? 'any') !== 'any')
    return 'has target_session_attrs, which is not supported: leave it out, and name a host that leads to the right server';
  if (searchParams.get('sslrootcert') === 'system')
    return 'has sslrootcert=system, which is not supported: remove it, and set NODE_OPTIONS=--use-openssl-ca';
  if (NO_HOST.test(text) && !searchParams.has('host'))
    return 'names no host: add one, or the folder of a Unix socket, such as ?host=/var/run/postgresql';
  return undefined;
}

const SEVERAL =
  'names several hosts, which is not supported: name one, such as a proxy that finds the primary';

/** Adds a host for URL parsers. node-postgres prefers the parameter `host`. */
function withHost(text: string): string {
  return text.replace(NO_HOST, '$1localhost');
}

function isUtf8(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
