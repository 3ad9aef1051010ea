/**
 * Loaded into an API before anything else (NODE_OPTIONS=--require): writes down every route that is registered, by
 * whomever, from the server's first moment on. The product knows nothing of it.
 */
const { subscribe } = require('node:diagnostics_channel');
const { appendFileSync } = require('node:fs');

subscribe('fastify.initialization', ({ fastify }) => {
  fastify.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) appendFileSync(process.env.ROUTES_FILE, `${one} ${url}\n`);
  });
});
