import type { FastifyInstance } from 'fastify';

/** Asked again and again by machines: what went well of it says little, and is for debugging. */
const POLLED = /^\/(metrics$|health\/|repo\/v1\/daemonStatus\/)/;

/** One line a request, when it is answered. */
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
