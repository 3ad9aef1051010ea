import type { CookieSerializeOptions } from '@fastify/cookie';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** The token of a login session or an API key: of the header `sessionToken`, or of `Authorization: Bearer`. */
export function sessionToken(request: FastifyRequest): string | undefined {
  const header = request.headers['sessiontoken'];
  if (typeof header === 'string') return header;
  return /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

/** The token of a header, or else of the browser's cookie. For pages only. */
export function pageToken(request: FastifyRequest): string | undefined {
  return sessionToken(request) ?? cookieToken(request);
}

/** The token of the browser's login session. */
export function cookieToken(request: FastifyRequest): string | undefined {
  return request.cookies[cookieName(request)] || undefined;
}

/** Sets a cookie that the browser keeps until it is closed. */
export function setSessionCookie(request: FastifyRequest, reply: FastifyReply, token: string): void {
  void reply.setCookie(cookieName(request), token, attributes(request));
}

/** Makes the browser forget its login session. */
export function clearSessionCookie(request: FastifyRequest, reply: FastifyReply): void {
  void reply.clearCookie(cookieName(request), attributes(request));
}

/**
 * The name holds the port that the browser sees: browsers send a cookie to every port of a host, and two installations
 * on one host must not share a session. Browsers accept the prefix `__Host-` over HTTPS from this host only, so no
 * neighbour can plant a cookie. `__Host-` excludes paths; below BASE_PATH the weaker `__Secure-` stands in for it.
 */
function cookieName({ protocol, port, basePath }: FastifyRequest): string {
  if (protocol !== 'https') return `snapshotd_session_${port ?? 80}`;
  return `${basePath === '' ? '__Host-' : '__Secure-'}snapshotd_session_${port ?? 443}`;
}

function attributes({ protocol, basePath }: FastifyRequest): CookieSerializeOptions {
  return { path: basePath || '/', httpOnly: true, sameSite: 'strict', secure: protocol === 'https' };
}
