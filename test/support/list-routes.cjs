/**
 * Loaded into an API before anything else (NODE_OPTIONS=--require), writes every registered route to a file.
 */
const { subscribe } = require('node:diagnostics_channel');
const { appendFileSync } = require('node:fs');

subscribe('fastify.initialization', ({ fastify }) => {
  fastify.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) appendFileSync(process.env.ROUTES_FILE, `${one} ${url}\n`);
  });
});
