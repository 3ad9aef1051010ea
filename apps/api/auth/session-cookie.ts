import type { FastifyReply, FastifyRequest } from 'fastify';

/** The token of the session that a browser carries on: for pages only, since browsers send it by themselves. */
export function cookieToken(request: FastifyRequest): string | undefined {
  return new RegExp(`(?:^|;\\s*)${cookieName(request)}=([\\w-]+)`).exec(request.headers.cookie ?? '')?.[1];
}

/** Has the browser carry a session on until it is closed. */
export function setSessionCookie(request: FastifyRequest, reply: FastifyReply, token: string): void {
  void reply.header('Set-Cookie', `${cookieName(request)}=${token}; ${attributes(request)}`);
}

/** Has the browser forget its session. */
export function clearSessionCookie(request: FastifyRequest, reply: FastifyReply): void {
  void reply.header('Set-Cookie', `${cookieName(request)}=; Max-Age=0; ${attributes(request)}`);
}

/**
 * Browsers send a cookie to every port of a host, so its name holds the port that the browser sees: two installations
 * on one host have a session each. Browsers take a cookie of the prefix `__Host-` by HTTPS from this very host only, so
 * that no neighbour can plant one. They take it for the whole host only; below a path, `__Secure-` must do.
 */
function cookieName({ protocol, port, basePath }: FastifyRequest): string {
  if (protocol !== 'https') return `snapshotd_session_${port ?? 80}`;
  return `${basePath === '' ? '__Host-' : '__Secure-'}snapshotd_session_${port ?? 443}`;
}

function attributes({ protocol, basePath }: FastifyRequest): string {
  return `Path=${basePath || '/'}; HttpOnly; SameSite=Strict${protocol === 'https' ? '; Secure' : ''}`;
}
