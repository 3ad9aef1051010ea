import type { FastifyReply, FastifyRequest } from 'fastify';

const COOKIE = 'snapshotd_session';

/** The token of the session that a browser carries on: for pages only, since browsers send it by themselves. */
export function cookieToken(request: FastifyRequest): string | undefined {
  return new RegExp(`(?:^|;\\s*)${COOKIE}=([\\w-]+)`).exec(request.headers.cookie ?? '')?.[1];
}

/** Has the browser carry a session on until it is closed. */
export function setSessionCookie(request: FastifyRequest, reply: FastifyReply, token: string): void {
  void reply.header('Set-Cookie', `${COOKIE}=${token}; ${attributes(request)}`);
}

export function clearSessionCookie(request: FastifyRequest, reply: FastifyReply): void {
  void reply.header('Set-Cookie', `${COOKIE}=; Max-Age=0; ${attributes(request)}`);
}

function attributes({ protocol }: FastifyRequest): string {
  return `Path=/; HttpOnly; SameSite=Strict${protocol === 'https' ? '; Secure' : ''}`;
}
