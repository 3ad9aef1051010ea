import fastify, { type FastifyRequest } from 'fastify';
import { policyOf, requirePolicies, setAccessBelow } from './policy.js';

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
  const needs = async (request: FastifyRequest) => policyOf(request)?.needs;
  void server.register(
    async (scope) => {
      scope.get('/', needs);
      scope.post('/api', needs);
    },
    { prefix: '/admin/queues' },
  );
  server.get('/admin/queues-of-others', { config: { access: { needs: 'session' } } }, needs);
  const needed = async (method: 'GET' | 'POST', url: string) => (await server.inject({ method, url })).body;
  expect(await needed('GET', '/admin/queues')).toBe('everything');
  expect(await needed('GET', '/admin/queues/')).toBe('everything');
  expect(await needed('POST', '/admin/queues/api')).toBe('everything');
  expect(await needed('GET', '/admin/queues-of-others')).toBe('session');
});
