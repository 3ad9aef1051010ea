import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { oneOf, queues } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const STATIC = join(dirname(require.resolve('@bull-board/ui/package.json')), 'dist', 'static');
const basic = (email: string, password: string) =>
  `Basic ${Buffer.from(`${email}:${password}`).toString('base64')}`;

describe.each(oneOf(queues, 0))('the dashboard of the %s queue', (_title, queueUrl) => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await Stack.start({ queueUrl });
    const { id } = await stack.startBackup();
    await stack.finished(id);
  });
  afterAll(() => stack.stop());

  const files = readdirSync(STATIC, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `/admin/queues/static${join(entry.parentPath, entry.name).slice(STATIC.length)}`);
  const ROUTES: [string, string][] = [
    ...[
      '',
      '/',
      '/queue/daemons',
      '/queue/daemons/1',
      '/api/queues',
      '/api/redis/stats',
      '/api/queues/daemons/1',
      '/api/queues/daemons/1/logs',
    ].map((path): [string, string] => ['GET', `/admin/queues${path}`]),
    ...[
      '/api/queues/daemons/add',
      '/api/queues/daemons/obliterate',
      '/api/queues/daemons/1/retry/failed',
      '/api/queues/schedules/add',
      '/api/queues/pause',
    ].flatMap((path): [string, string][] => [
      ['POST', `/admin/queues${path}`],
      ['PUT', `/admin/queues${path}`],
    ]),
    ...files.slice(0, 20).map((path): [string, string] => ['GET', path]),
  ];

  test('answers nothing without a session, in any of its routes', async () => {
    expect(files.length).toBeGreaterThan(5);
    for (const [method, path] of ROUTES) {
      const { status, headers } = await stack.call(method, path, undefined, {});
      // A method that a route does not have is a 404; what it must never be is done.
      expect({ path, refused: status === 401 || (status === 404 && method !== 'GET') }).toEqual({
        path,
        refused: true,
      });
      // For Basic a browser would show its login dialog.
      expect(headers.get('www-authenticate')).toBe(status === 401 ? 'Bearer realm="snapshotd"' : null);
    }
  });

  test('shows the queues to a session', async () => {
    const { status, body } = await stack.call<{
      queues: { name: string; counts: { completed: number }; readOnlyMode: boolean }[];
    }>('GET', '/admin/queues/api/queues?activeQueue=daemons&status=completed');
    expect(status).toBe(200);
    expect(body.queues).toMatchObject([
      { name: 'daemons', counts: { completed: 1 }, readOnlyMode: true },
      { name: 'checks', readOnlyMode: true },
      { name: 'schedules', readOnlyMode: true },
    ]);
  });

  test('lets a script in by HTTP Basic, and carries it on by a cookie', async () => {
    const { email, password } = Stack.administrator;
    const page = await stack.call<string>('GET', '/admin/queues', undefined, {
      authorization: basic(email, password),
    });
    expect(page.status).toBe(200);
    const cookie = page.headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(/^snapshotd_session_\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
    const again = await stack.call('GET', '/admin/queues/api/queues', undefined, {
      cookie: cookie.split(';')[0] ?? '',
    });
    expect(again.status).toBe(200);
    // The cookie is for pages: the API takes no credentials that a browser sends by itself.
    expect(
      (await stack.call('GET', '/repo/v1/daemonStatus/1', undefined, { cookie: cookie.split(';')[0] ?? '' }))
        .status,
    ).toBe(401);
    expect(
      (await stack.call('GET', '/admin/queues', undefined, { authorization: basic(email, 'wrong') })).status,
    ).toBe(401);
  });

  test('changes nothing, not even for an administrator', async () => {
    for (const [method, path] of ROUTES.filter((route) => route[0] !== 'GET')) {
      const { status } = await stack.call(method, path, {});
      expect({ path, status, refused: status >= 400 && status < 500 }).toEqual({
        path,
        status,
        refused: true,
      });
    }
    expect((await stack.status('1')).status).toBe('COMPLETED');
  });

  test('takes nothing from the internet', async () => {
    const page = await stack.call<string>('GET', '/admin/queues');
    expect(page.body).toContain('<div id="root">');
    expect(page.body).not.toMatch(/(src|href)="(https?:)?\/\//);
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'self';/);
    for (const path of files.filter((file) => file.endsWith('.css')))
      expect(readFileSync(join(STATIC, path.replace('/admin/queues/static', '')), 'utf8')).not.toMatch(
        /url\(["']?https?:/,
      );
  });
});
