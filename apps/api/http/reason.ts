import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Failure } from '#common';

/** A 429 that tells the client when to try again. */
export class TooManyRequests extends HttpException {
  constructor(
    reason: string,
    readonly retryAfterSeconds: number,
  ) {
    super(reason, 429);
  }
}

const TOO_LARGE = 'The body is larger than 64 KB.';

/** Answers every error of a route as {"reason": …}. */
@Catch()
export class ReasonFilter implements ExceptionFilter {
  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    void sendReason(error, http.getRequest(), http.getResponse());
  }
}

/** Answers an error as {"reason": …}: one sentence for the client. The stack goes to the log only. */
export function sendReason(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, reason } = answerFor(error);
  if (status >= 500) request.log.error({ err: error }, `Answered ${status}: ${reason}`);
  // RFC 9110 demands it with each 401. Unlike for Basic, browsers open no window for it.
  if (status === 401) void reply.header('WWW-Authenticate', 'Bearer realm="snapshotd"');
  if (error instanceof TooManyRequests) void reply.header('Retry-After', String(error.retryAfterSeconds));
  return reply.status(status).send({ reason });
}

/** The status and the reason that a client gets for an error. */
export function answerFor(error: unknown): { status: number; reason: string } {
  if (error instanceof HttpException)
    return { status: error.getStatus(), reason: error.getStatus() === 413 ? TOO_LARGE : error.message };
  if (error instanceof Failure) {
    const status = statusOf(error);
    if (status !== undefined) return { status, reason: error.sentence };
  }
  if (isDatabaseAway(error))
    return { status: 503, reason: 'The database does not answer. Try again in a moment.' };
  // Fastify's errors carry a status: a body that is too large, a broken encoding.
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
  if (status === 413) return { status, reason: TOO_LARGE };
  if (status >= 400 && status < 500) return { status, reason: (error as Error).message };
  return { status: 500, reason: 'Internal error. See the log of the API.' };
}

/** The status of a failure outside of jobs. */
function statusOf({ code, persistence }: Failure): number | undefined {
  if (code === 'QUEUE_UNAVAILABLE') return 503;
  if (code === 'IDEMPOTENCY_KEY_BUSY') return 409;
  if (code === 'IDEMPOTENCY_KEY_REUSED') return 422;
  if (code === 'STORE_OBJECT_MISSING') return 404;
  // The client may do this, but the store refuses us: a bad gateway.
  if (code.startsWith('STORE_')) return persistence === 'transient' ? 503 : 502;
  return undefined;
}

function isDatabaseAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  // SQLSTATE class 08 is connection trouble, 57P0x a shutdown, 53300 too many connections.
  return (
    /^(ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|08|57P0|53300)/.test(code) ||
    /timeout exceeded when trying to connect|Query read timeout|Connection terminated/.test(error.message)
  );
}
