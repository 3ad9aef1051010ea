import type { FastifyInstance } from 'fastify';

/** Machines poll these routes. Their successes are logged for debugging only. */
const POLLED = /^\/(metrics$|health\/|repo\/v1\/daemonStatus\/)/;

/** Logs one line for each request, after its answer. */
export function logRequests(fastify: FastifyInstance): void {
  fastify.addHook('onResponse', async (request, reply) => {
    const level = POLLED.test(request.url) && reply.statusCode < 500 ? 'debug' : 'info';
    request.log[level](
      {
        method: request.method,
        url: request.url,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        from: request.ip,
        ...(request.account !== undefined && { account: request.account.email }),
      },
      'Answered',
    );
  });
}
