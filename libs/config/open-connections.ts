import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';

/** The settings with the URL of a server that receives passwords and data. */
const URLS = ['DATABASE_URL', 'REPOSITORY_URL', 'DRILL_URL', 'QUEUE_URL'];
/** The parameters of a PostgreSQL URL that decide about encryption. */
const TLS_PARAMETERS = ['sslmode', 'ssl', 'sslnegotiation', 'sslrootcert', 'sslcert', 'sslkey'];

/**
 * Warns of URLs that lead to another machine without deciding about encryption. An explicit `sslmode=disable` is a
 * decision and needs no warning.
 */
export function openConnections(env: Record<string, string | undefined>): string[] {
  return URLS.flatMap((name) => {
    const text = env[name];
    if (text === undefined || !URL.canParse(text)) return [];
    const url = new URL(text);
    // Like node-postgres: the last one counts, and an empty one does not.
    const parameter = (key: string) => url.searchParams.getAll(key).at(-1) || undefined;
    const isRedis = url.protocol.startsWith('redis');
    const host = isRedis ? url.hostname : (parameter('host') ?? (url.hostname || (env['PGHOST'] ?? '')));
    const decided = isRedis
      ? url.protocol === 'rediss:'
      : env['PGSSLMODE'] !== undefined || TLS_PARAMETERS.some((key) => parameter(key) !== undefined);
    if (decided || isThisMachine(host)) return [];
    const [fault, remedy] = isRedis
      ? ['is redis://', 'Use rediss://.']
      : ['has no sslmode', 'Add sslmode=verify-full, or sslmode=disable if you trust the network.'];
    return [
      `${name} leads to ${host} and ${fault}: passwords and data travel unencrypted, to any server that answers. ${remedy}`,
    ];
  });
}

/** Whether a host is this machine: a Unix socket, a loopback address, or an address of its interfaces. */
function isThisMachine(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (/^(|\/.*|%2f.*|(.*\.)?localhost)$/.test(name)) return true;
  if (isIP(name) === 0) return name === hostname().toLowerCase();
  const own = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses);
  return /^(127\.|::1$|::ffff:7f)/.test(name) || own.some(({ address }) => address === name);
}
