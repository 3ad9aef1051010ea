import { setTimeout as sleep } from 'node:timers/promises';
import { hash } from '@node-rs/argon2';
import type { DaemonStatus } from '#contracts';
import { RawConnection } from '../support/raw-http.js';
import { S3Proxy } from '../support/s3-proxy.js';
import { servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

let stack: Stack;
const database = () => stack.env['DATABASE_URL'] ?? '';

beforeAll(async () => {
  stack = await Stack.start({ workers: 0 });
});
afterAll(() => stack.stop());

describe('sessions', () => {
  const session = (method: string, body: unknown, headers = {}) =>
    stack.call(method, '/auth/v1/session', body, headers);

  test('a login gives a name and a token of 256 bits, of which only the hash is stored', async () => {
    const { status, body } = await stack.call<{ displayName: string; sessionToken: string }>(
      'POST',
      '/auth/v1/session',
      Stack.administrator,
    );
    expect(status).toBe(201);
    expect(Object.keys(body)).toEqual(['displayName', 'sessionToken']);
    expect(body.displayName).toBe(Stack.administrator.email);
    expect(Buffer.from(body.sessionToken, 'base64url').length).toBe(32);
    const stored = await sql<{ all: string }>(
      database(),
      `SELECT (SELECT json_agg(s) FROM snapshotd.session s)::text AS all`,
    );
    expect(stored[0]?.all).not.toContain(body.sessionToken);
    const [account] = await sql<{ hash: string }>(
      database(),
      `SELECT password_hash AS hash FROM snapshotd.account`,
    );
    expect(account?.hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  });

  test('a token that is sent along with a login is ignored', async () => {
    expect(await session('POST', Stack.administrator, { sessionToken: 'YourSessionToken' })).toMatchObject({
      status: 201,
    });
  });

  test('the email may be written in any case', async () => {
    expect(await session('POST', { ...Stack.administrator, email: 'PLATFORM@Example.org' })).toMatchObject({
      status: 201,
    });
  });

  test.each([
    ['a wrong password', { email: Stack.administrator.email, password: 'wrong' }],
    ['an unknown email', { email: 'nobody@example.org', password: 'wrong' }],
  ])('%s gives the same answer', async (_title, body) => {
    expect(await session('POST', body)).toMatchObject({
      status: 401,
      body: { reason: 'The email or the password is wrong.' },
    });
  });

  test('a session is prolonged by use, ends by DELETE, and ends by itself', async () => {
    const { body } = await stack.call<{ sessionToken: string }>(
      'POST',
      '/auth/v1/session',
      Stack.administrator,
    );
    const token = body.sessionToken;
    const asks = async () =>
      (await stack.call('GET', '/repo/v1/daemonStatus/1', undefined, { sessionToken: token })).status;
    const left = async () => {
      const rows = await sql<{ hours: number }>(
        database(),
        'SELECT extract(epoch FROM expires_on - now())::float8 / 3600 AS hours FROM snapshotd.session WHERE token_hash = sha256($1::text::bytea)',
        [token],
      );
      return Math.round(rows[0]?.hours ?? 0);
    };
    const age = (interval: string) =>
      stack.changeByHand(
        `UPDATE snapshotd.session SET expires_on = now() + '${interval}' WHERE token_hash = sha256('${token}')`,
      );

    expect(await left()).toBe(24);
    await age('2 hours');
    expect(await asks()).toBe(404);
    expect(await left()).toBe(24);
    await age('2 hours');
    expect(await session('PUT', { sessionToken: token })).toMatchObject({ status: 204, body: '' });
    expect(await left()).toBe(24);
    await age('-1 second');
    expect(await asks()).toBe(401);
    expect(await session('PUT', { sessionToken: token })).toMatchObject({ status: 401 });
    await age('1 hour');
    expect(await asks()).toBe(404);
    expect(await session('DELETE', { sessionToken: token })).toMatchObject({ status: 204, body: '' });
    expect(await asks()).toBe(401);
  });

  test.each([
    ['sessiontoken', (token: string) => token],
    ['SESSIONTOKEN', (token: string) => token],
    ['Authorization', (token: string) => `Bearer ${token}`],
    ['authorization', (token: string) => `bearer ${token}`],
  ])('the header %s carries the token', async (name, value) => {
    const answer = await stack.call('GET', '/repo/v1/daemonStatus/77', undefined, {
      [name]: value(stack.sessionToken),
    });
    expect(answer.status).toBe(404);
  });

  test('an account that is no administrator may log in and do nothing', async () => {
    const ada = { email: 'ada@example.org', password: 'analytical engine' };
    await sql(
      database(),
      'INSERT INTO snapshotd.account (email, display_name, password_hash) VALUES ($1, $2, $3)',
      [ada.email, 'Ada', await hash(ada.password)],
    );
    const { body, status } = await stack.call<{ displayName: string; sessionToken: string }>(
      'POST',
      '/auth/v1/session',
      ada,
    );
    expect({ status, displayName: body.displayName }).toEqual({ status: 201, displayName: 'Ada' });
    const { sessionToken } = body;
    for (const [method, path] of [
      ['POST', '/repo/v1/startBackupDaemon'],
      ['GET', '/repo/v1/daemonStatus/1'],
      ['GET', '/admin/queues'],
    ] as const)
      expect(await stack.call(method, path, undefined, { sessionToken })).toMatchObject({
        status: 403,
        body: { reason: 'Only administrators may do this.' },
      });
    const basic = `Basic ${Buffer.from(`${ada.email}:${ada.password}`).toString('base64')}`;
    expect(await stack.call('GET', '/admin/queues', undefined, { authorization: basic })).toMatchObject({
      status: 403,
    });
  });

  test('more than ten tries in a minute are refused for that account and address only', async () => {
    const email = 'guessed@example.org';
    const statuses: number[] = [];
    for (let i = 0; i < 11; i++)
      statuses.push((await session('POST', { email, password: `guess ${i}` })).status);
    expect(statuses).toEqual([...(Array(10).fill(401) as number[]), 429]);
    const refused = await session('POST', { email, password: 'again' });
    expect(refused.body.reason).toMatch(
      /^Too many logins with this email from this address\. Try again in \d+ seconds\.$/,
    );
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await session('POST', Stack.administrator)).toMatchObject({ status: 201 });
    const basic = `Basic ${Buffer.from(`${email}:guess`).toString('base64')}`;
    expect(await stack.call('GET', '/admin/queues', undefined, { authorization: basic })).toMatchObject({
      status: 429,
    });
  });
});

describe('requests', () => {
  const start = (body: unknown, headers: Record<string, string> = {}) =>
    stack.call<DaemonStatus & { reason: string }>('POST', '/repo/v1/startBackupDaemon', body, {
      sessionToken: stack.sessionToken,
      ...headers,
    });

  test.each([
    ['{ }', 'application/json'],
    ['{}', 'application/json; charset=utf-8'],
    ['', 'application/json'],
    ['', 'text/plain'],
    [undefined, undefined],
  ])('the body %j as %s starts a backup', async (body, type) => {
    expect(await start(body, type === undefined ? {} : { 'Content-Type': type })).toMatchObject({
      status: 201,
      body: { status: 'STARTED' },
    });
  });

  test.each([
    ['{', 'application/json', 'The body is no valid JSON.'],
    [
      '{ }',
      'text/plain',
      'The body must be JSON and be sent with Content-Type: application/json, not text/plain.',
    ],
    [
      '{ }',
      'application/x-www-form-urlencoded',
      'The body must be JSON and be sent with Content-Type: application/json, not application/x-www-form-urlencoded.',
    ],
    ['[]', 'application/json', 'Invalid input: expected object, received array.'],
    ['"x"', 'application/json', 'Invalid input: expected object, received string.'],
    ['{"comression": 9}', 'application/json', 'Unrecognized key: "comression".'],
  ])('the body %j as %s is a 400', async (body, type, reason) => {
    expect(await start(body, { 'Content-Type': type })).toMatchObject({ status: 400, body: { reason } });
  });

  test('a body over 64 KB is a 413', async () => {
    expect(await start(`{"a": "${'x'.repeat(70_000)}"}`)).toMatchObject({
      status: 413,
      body: { reason: 'The body is larger than 64 KB.' },
    });
  });

  test.each([
    '0',
    '-1',
    '1.5',
    '999999',
    '__proto__',
    'constructor',
    '1%00',
    '%2e%2e',
    'x'.repeat(90),
    '1e3',
    '9'.repeat(30),
  ])('the id of case %# is a 404', async (id) => {
    const { status, body } = await stack.call('GET', `/repo/v1/daemonStatus/${id}`);
    expect({ status, keys: Object.keys(body) }).toEqual({ status: 404, keys: ['reason'] });
  });

  test.each([
    ['GET', '/nowhere', 404],
    ['DELETE', '/repo/v1/startBackupDaemon', 404],
    ['GET', '/repo/v1/daemonStatus/%E0%A4%A', 400],
    ['GET', `/repo/v1/daemonStatus/${'9'.repeat(5_000)}`, 414],
  ])('%s, case %#, is refused with a reason', async (method, path, status) => {
    const answer = await stack.call(method, path);
    expect(answer.status).toBe(status);
    expect(Object.keys(answer.body)).toEqual(['reason']);
  });

  test.each([
    ['POST', '/repo/v1/startBackupDaemon'],
    ['GET', '/repo/v1/daemonStatus/1'],
    ['HEAD', '/repo/v1/daemonStatus/1'],
  ])('%s %s without a session is a 401', async (method, path) => {
    expect((await stack.call(method, path, undefined, {})).status).toBe(401);
    expect((await stack.call(method, path, undefined, { sessionToken: 'made up' })).status).toBe(401);
  });
});

describe('health', () => {
  test('live and ready need no session', async () => {
    expect(await stack.call('GET', '/health/live', undefined, {})).toMatchObject({
      status: 200,
      body: { status: 'up' },
    });
    expect(await stack.call('GET', '/health/ready', undefined, {})).toMatchObject({
      status: 200,
      body: { status: 'up', database: 'up', queue: 'up', bucket: 'up' },
    });
  });

  test('a bucket that is away is shown, and the API stays ready', async () => {
    const other = await Stack.start({ workers: 0, env: { S3_ENDPOINT: 'http://127.0.0.1:1' } });
    expect(await other.call('GET', '/health/ready')).toMatchObject({
      status: 200,
      body: { status: 'up', bucket: 'down' },
    });
    await other.stop();
  });

  test('the object store is asked once, however many want to know within five seconds', async () => {
    const proxy = await S3Proxy.to(servers.s3.endpoint);
    const other = await Stack.start({ workers: 0, wait: false, env: { S3_ENDPOINT: proxy.url } });
    await other.api.ready(() => other.call('GET', '/health/live'));
    const began = performance.now();
    const ask = () => other.call('GET', '/health/ready', undefined, {});
    const answers = await Promise.all(Array.from({ length: 20 }, ask));
    answers.push(await ask());
    expect(performance.now() - began).toBeLessThan(5_000);
    const up: unknown = expect.objectContaining({ status: 'up', database: 'up', queue: 'up', bucket: 'up' });
    expect(answers.map(({ body }) => body)).toEqual(Array(21).fill(up));
    expect(proxy.requests).toHaveLength(1);
    for (; proxy.requests.length < 2; await sleep(50)) await ask();
    expect(performance.now() - began).toBeGreaterThan(5_000);
    await other.stop();
    await proxy.close();
  });
});

describe('every answer', () => {
  let behindProxy: Stack;
  beforeAll(async () => {
    behindProxy = await Stack.start({ workers: 0, env: { TRUST_PROXY: '127.0.0.1' } });
  });
  afterAll(() => behindProxy.stop());

  test.each([
    ['GET', '/health/ready', 200],
    ['GET', '/admin', 200],
    ['GET', '/admin/queues', 200],
    ['GET', '/admin/queues/api/queues', 200],
    ['GET', '/docs', 200],
    ['GET', '/docs-json', 200],
    ['GET', '/metrics', 200],
    ['GET', '/repo/v1/daemons', 200],
    ['GET', '/repo/v1/daemonStatus/999', 404],
    ['GET', '/nowhere', 404],
    ['GET', '/admin/nowhere', 404],
    ['POST', '/nowhere', 404],
    ['POST', '/repo/v1/startRestoreDaemon', 400],
    ['PUT', '/auth/v1/session', 400],
  ])('to %s, case %#, is not cached by proxies and not sniffed', async (method, path, status) => {
    const headers = { sessionToken: behindProxy.sessionToken };
    for (const https of [false, true]) {
      const { status: answered, headers: sent } = await behindProxy.call(method, path, undefined, {
        ...headers,
        ...(https && { 'X-Forwarded-Proto': 'https' }),
      });
      expect({
        status: answered,
        caching: sent.get('cache-control'),
        type: sent.get('x-content-type-options'),
        transport: sent.get('strict-transport-security'),
      }).toEqual({
        status,
        caching: 'no-store',
        type: 'nosniff',
        transport: https ? 'max-age=31536000' : null,
      });
    }
  });

  test('has the same form without a session, without a route and to invalid HTTP', async () => {
    for (const path of [
      '/repo/v1/daemons',
      '/repo/v1/daemonStatus/%E0%A4%A',
      `/repo/v1/daemonStatus/${'9'.repeat(5_000)}`,
    ]) {
      const { headers } = await behindProxy.call('GET', path, undefined, {});
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
    }
    const connection = new RawConnection(Number(new URL(behindProxy.url).port));
    const answer = await connection.ask(Buffer.from('nonsense\r\n\r\n'), 5_000);
    connection.close();
    expect(answer).toMatchObject({ status: 400 });
    expect(answer?.headers).toMatch(/^cache-control: no-store\r\nx-content-type-options: nosniff\r?$/im);
    expect(answer?.headers).not.toMatch(/strict-transport-security/i);
  });

  test('keeps files that hold nothing private', async () => {
    for (const path of ['/admin/assets/console.css', '/docs/swagger-ui-bundle.js']) {
      const { status, headers } = await behindProxy.call('GET', path);
      expect({ path, status, caching: headers.get('cache-control') }).toEqual({
        path,
        status: 200,
        caching: expect.stringMatching(/^public, max-age=\d+$/),
      });
      expect(headers.get('x-content-type-options')).toBe('nosniff');
    }
  });

  test("sets a cookie of the port, by HTTPS one that no neighbour can set, and ends the browser's old session", async () => {
    const cookieOf = async (headers: Record<string, string>) => {
      const answer = await fetch(`${behindProxy.url}/admin/login`, {
        method: 'POST',
        redirect: 'manual',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
        body: new URLSearchParams(Stack.administrator).toString(),
      });
      expect(answer.status).toBe(303);
      return answer.headers.get('set-cookie') ?? '';
    };
    const asks = async (cookie: string, headers: Record<string, string>) =>
      (await behindProxy.call('GET', '/admin', undefined, { cookie: cookie.split(';')[0] ?? '', ...headers }))
        .status;
    const port = new URL(behindProxy.url).port;
    expect(await cookieOf({})).toMatch(
      new RegExp(`^snapshotd_session_${port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict$`),
    );

    const https = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'backup.example.org' };
    const first = await cookieOf(https);
    expect(first).toMatch(
      /^__Host-snapshotd_session_443=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    );
    expect(await asks(first, https)).toBe(200);
    const second = await cookieOf({ ...https, cookie: first.split(';')[0] ?? '' });
    expect([await asks(first, https), await asks(second, https)]).toEqual([401, 200]);
  });
});
