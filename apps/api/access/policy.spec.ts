import fastify from 'fastify';
import { requirePolicies, setAccessBelow } from './policy.js';

const nothing = () => undefined;

test('a server does not start with routes without a policy, those of plugins among them, and names them all', async () => {
  const server = fastify();
  requirePolicies(server);
  server.get('/health/live', { config: { access: { needs: 'nothing' } } }, nothing);
  server.delete('/repo/v1/audit', nothing);
  void server.register(
    async (scope) => {
      scope.get('/secrets/*', nothing);
    },
    { prefix: '/plugin' },
  );
  await expect(server.ready()).rejects.toThrow(
    'Routes without an access policy: DELETE /repo/v1/audit, GET /plugin/secrets/*, HEAD /plugin/secrets/*. Add @Access(…) to their methods.',
  );
});

test('the policy of a path covers what lies below it, and no path that only begins like it', async () => {
  const server = fastify();
  requirePolicies(server);
  setAccessBelow(server, '/admin/queues', { needs: 'everything' });
  const needs: Record<string, string | undefined> = {};
  server.addHook('onRoute', ({ method, url, config }) => {
    if (method !== 'HEAD') needs[`${String(method)} ${url}`] = config?.access?.needs;
  });
  void server.register(
    async (scope) => {
      scope.get('/', nothing);
      scope.post('/api', nothing);
    },
    { prefix: '/admin/queues' },
  );
  server.get('/admin/queues-of-others', { config: { access: { needs: 'session' } } }, nothing);
  await server.ready();
  expect(needs).toEqual({
    'GET /admin/queues': 'everything',
    'POST /admin/queues/api': 'everything',
    'GET /admin/queues-of-others': 'session',
  });
});
