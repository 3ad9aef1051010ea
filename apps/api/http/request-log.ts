import type { FastifyInstance } from 'fastify';

/** One line a request, when it is answered. Health checks are many and say little: they are for debugging. */
export function logRequests(fastify: FastifyInstance): void {
  fastify.addHook('onResponse', async (request, reply) => {
    const level = request.url.startsWith('/health/') ? 'debug' : 'info';
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
