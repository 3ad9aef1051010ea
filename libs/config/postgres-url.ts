import { z } from 'zod';

const SCHEME = /^postgres(ql)?:\/\//;
/** Parameters of libpq that lead to another server than the rest of the URL says. */
const LEADING_ELSEWHERE = ['service', 'servicefile', 'hostaddr'];

const NO_HOST = /^(\w+:\/\/[^/?#]*@)(?=(:\d+)?([/?]|$))/;

/** Whether a setting that may name other kinds of server names a PostgreSQL server. */
export function isPostgresUrl(text: string): boolean {
  return SCHEME.test(text);
}

/**
 * A PostgreSQL URL as libpq takes it, but for what node-postgres cannot do, which is refused here. One without a host
 * beside its credentials, as libpq has it for Unix sockets (`postgres://user@/app?host=/run/postgresql`), is given one.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
 */
export const postgresUrl = z.string().transform((text, context) => {
  const fault = faultOf(text);
  if (fault === undefined) return withHost(text);
  context.addIssue({ code: 'custom', message: fault });
  return z.NEVER;
});

/** The message shows nothing of the URL: credentials may be in there. */
function faultOf(text: string): string | undefined {
  const example = 'must be a URL such as postgres://user:password@host:5432/database';
  if (!SCHEME.test(text)) return example;
  if (/%(?![0-9a-f]{2})/i.test(text)) return 'has a % that no two hexadecimal digits follow: write it as %25';
  const { authority = '' } = /^\w+:\/\/(?<authority>[^/?#]*)/.exec(text)?.groups ?? {};
  if (/,/.test(authority.slice(authority.lastIndexOf('@') + 1))) return SEVERAL;
  const whole = withHost(text);
  if (!URL.canParse(whole))
    return `${example}; in user and password write # as %23, / as %2F, ? as %3F, @ as %40, : as %3A and % as %25`;
  const { username, password, hostname, pathname, searchParams, hash } = new URL(whole);
  if (hash !== '') return 'has a #, which begins what no server sees: write it as %23';
  if (![username, password, hostname, pathname].every(isUtf8)) return 'has escapes that are no UTF-8';
  if (['host', 'port'].some((name) => searchParams.getAll(name).some((value) => value.includes(','))))
    return SEVERAL;
  const elsewhere = LEADING_ELSEWHERE.find((name) => searchParams.has(name));
  if (elsewhere !== undefined) return `has the parameter ${elsewhere}, which is not supported: name the host`;
  if ((searchParams.get('target_session_attrs') ?? 'any') !== 'any')
    return 'has target_session_attrs, which is not supported: leave it out, and name a host that leads to the right server';
  if (searchParams.get('sslrootcert') === 'system')
    return 'has sslrootcert=system, which is not supported: leave it out, and set NODE_OPTIONS=--use-openssl-ca';
  if (NO_HOST.test(text) && !searchParams.has('host'))
    return 'names no host: add one, or the folder of a Unix socket, such as ?host=/var/run/postgresql';
  return undefined;
}

const SEVERAL =
  'names several hosts, which is not supported: name one, such as a proxy that finds the primary';

/** node-postgres goes by the parameter `host` where there is one. */
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
