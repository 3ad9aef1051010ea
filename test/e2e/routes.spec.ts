import { hash } from '@node-rs/argon2';
import { isOpen, OPEN_ROUTES, pathOf, routesFile } from '../support/routes.js';
import { sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { tried } from '../support/tried.js';

const file = routesFile();
let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start({ workers: 0, env: file.env });
});
afterAll(() => stack.stop());

const closed = () => file.routes().filter(([method, url]) => !isOpen(method, url));

test('the routes of Nest, of plugins and of the dashboard are found', () => {
  const routes = file.routes().map(([method, url]) => `${method} ${url}`);
  expect(routes).toEqual(
    expect.arrayContaining([
      ...OPEN_ROUTES,
      'POST /repo/v1/startRestoreDaemon',
      'GET /repo/v1/daemonStatus/:id',
      'HEAD /repo/v1/daemonStatus/:id',
      'GET /admin/queues/static/*',
      'PUT /admin/queues/api/queues/:queueName/pause',
    ]),
  );
});

test('none but the open ones answer without a session, or with one that is made up', async () => {
  for (const [method, url] of closed())
    for (const headers of [{}, { sessionToken: 'made up' }, { authorization: 'Bearer made-up' }]) {
      const { status } = await stack.call(method, pathOf(url), undefined, headers);
      expect({ method, url, status }).toEqual({ method, url, status: 401 });
    }
  tried('a call without a session of each route that is not open', closed().length, 'all 401');
});

test('none but the open ones answer to an account that is no administrator', async () => {
  const ada = { email: 'ada@example.org', password: 'analytical engine' };
  await sql(
    stack.env['DATABASE_URL'] ?? '',
    'INSERT INTO snapshotd.account (email, display_name, password_hash) VALUES ($1, $2, $3)',
    [ada.email, 'Ada', await hash(ada.password)],
  );
  const { body } = await stack.call<{ sessionToken: string }>('POST', '/auth/v1/session', ada);
  const { sessionToken } = body;
  const everyones: string[] = [];
  for (const [method, url] of closed()) {
    const { status } = await stack.call(method, pathOf(url), undefined, { sessionToken });
    if (status !== 403) everyones.push(`${method} ${url}: ${status}`);
  }
  // Every addition to this list needs a reason.
  expect(everyones).toEqual(['PUT /auth/v1/password: 400']);
  tried('a call of each other route, as no administrator', closed().length - everyones.length, 'all 403');
});

test('an open route answers without a session', async () => {
  for (const route of OPEN_ROUTES) {
    const [method = '', url = ''] = route.split(' ');
    const { body, status } = await stack.call(method, url, method === 'GET' ? undefined : {}, {});
    expect({ route, status, body: JSON.stringify(body) }).toEqual({
      route,
      status: method === 'GET' ? 200 : 400,
      body: expect.not.stringContaining('A session is needed'),
    });
  }
});
