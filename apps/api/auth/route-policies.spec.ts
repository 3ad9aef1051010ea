import fastify from 'fastify';
import { OPEN_ROUTES } from './open-routes.js';
import { policyOf, refuseForgottenRoutes, ROUTE_POLICIES } from './route-policies.js';

const nothing = () => undefined;

test('a server does not start with routes that have no line, those of plugins among them, and names them all', async () => {
  const server = fastify();
  refuseForgottenRoutes(server);
  server.get('/health/live', nothing);
  server.get('/repo/v1/audit', nothing);
  server.delete('/repo/v1/audit', nothing);
  void server.register(
    async (scope) => {
      scope.get('/secrets/*', nothing);
    },
    { prefix: '/plugin' },
  );
  await expect(server.ready()).rejects.toThrow(
    'These routes have no line in route-policies.ts, and none in open-routes.ts: DELETE /repo/v1/audit, GET /plugin/secrets/*, HEAD /plugin/secrets/*. Add one.',
  );
});

test('a prefix is a whole step of a path', () => {
  expect(policyOf('POST', '/admin/queues/api')).toEqual({ needs: 'everything' });
  expect(policyOf('HEAD', '/admin/queues')).toEqual({ needs: 'everything' });
  expect(policyOf('GET', '/admin/queues-of-others')).toBeUndefined();
});

test('no route is open and has a line too', () => {
  expect([...ROUTE_POLICIES.keys()].filter((route) => OPEN_ROUTES.has(route))).toEqual([]);
});
