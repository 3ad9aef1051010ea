import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Ajv2020, { type ValidateFunction } from 'ajv/dist/2020';
import { Queue } from 'bullmq';
import { Secret } from '#config';
import { Keys } from '#keys';
import { createLogger } from '#logging';
import { queueConnection } from '../../libs/queue/connection.js';
import { KeptDatabases } from '../../libs/queue/kept-databases.js';
import { WORKER_QUEUE, type WorkerJobQueue } from '../../libs/queue/signed-records.js';
import { routesFile } from '../support/routes.js';
import { Stack } from '../support/stack.js';

interface Response {
  content?: Record<string, { schema: object; example?: unknown }>;
}

interface Operation {
  operationId: string;
  summary: string;
  security: object[];
  requestBody?: { content: Record<string, { schema: { examples?: unknown[] } }> };
  responses: Record<string, Response>;
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
}

const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

const file = routesFile();
let stack: Stack;
let document: Document;
let ajv: Ajv2020;

beforeAll(async () => {
  stack = await Stack.start({ env: file.env });
  document = (await stack.call<Document>('GET', '/docs-json')).body;
  // The names and what lies beside the schemas are OpenAPI's, no schema's.
  ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true, validateFormats: false });
  for (const word of ['openapi', 'info', 'paths', 'components', 'tags', 'servers']) ajv.addKeyword(word);
  ajv.addSchema(document, 'document');
});
afterAll(() => stack.stop());

/** All operations, by method and path. */
function operations(): Map<string, Operation> {
  return new Map(
    Object.entries(document.paths).flatMap(([path, item]) =>
      METHODS.flatMap((method): [string, Operation][] =>
        item[method] === undefined ? [] : [[`${method.toUpperCase()} ${path}`, item[method]]],
      ),
    ),
  );
}

/** A schema, by the steps that lead to it in the document. */
function schemaAt(...steps: string[]): ValidateFunction {
  const pointer = steps.map((step) => `/${step.replace(/~/g, '~0').replace(/\//g, '~1')}`).join('');
  return ajv.compile({ $ref: `document#${encodeURI(pointer)}` });
}

/** Holds something against a schema. @returns what is wrong with it */
function faults(validate: ValidateFunction, value: unknown): string[] {
  return validate(value) ? [] : (validate.errors ?? []).map((error) => JSON.stringify(error));
}

/** Every schema of an object in an answer. */
function objectsIn(schema: unknown): Record<string, unknown>[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const inner = Object.values(schema).flatMap(objectsIn);
  return 'properties' in schema ? [{ ...schema }, ...inner] : inner;
}

test('every registered route is in the document, except for those of pages', () => {
  const routes = file
    .routes()
    .filter(([method, url]) => method !== 'HEAD' && !isPage(url))
    .map(([method, url]) => `${method} ${url.replace(/:(\w+)/g, '{$1}')}`);
  expect(routes).toContain('GET /repo/v1/daemonStatus/{id}');
  expect([...operations().keys()].sort()).toEqual(routes.sort());
});

function isPage(url: string): boolean {
  if (url === '/') return true;
  return ['/admin', '/docs', '/docs-json'].some((page) => url === page || url.startsWith(`${page}/`));
}

test('every route has a unique name, a summary, and a schema of its errors', () => {
  expect(document.openapi).toBe('3.1.0');
  const all = [...operations().values()];
  expect(new Set(all.map(({ operationId }) => operationId)).size).toBe(all.length);
  for (const [route, { summary, security, responses }] of operations()) {
    expect({ route, summary }).toEqual({ route, summary: expect.stringMatching(/^[A-Z].+[^.]$/) });
    const closed = '401' in responses && '403' in responses;
    const open = /^\w+ \/(health\/|auth\/v1\/session$)/.test(route);
    expect({ route, closed, schemes: security }).toEqual({
      route,
      closed: !open,
      schemes: open ? [] : [{ sessionToken: [] }, { bearer: [] }],
    });
  }
});

test('the schemas of answers leave nothing open, and all examples fit', () => {
  for (const schema of Object.values(document.components.schemas).flatMap(objectsIn))
    expect(schema).toMatchObject({ additionalProperties: false });
  let examples = 0;
  for (const [route, { responses, requestBody }] of operations()) {
    const [method = '', path = ''] = route.split(' ');
    const at = ['paths', path, method.toLowerCase()];
    const body = requestBody?.content['application/json']?.schema;
    expect({ route, examples: body === undefined ? 1 : body.examples?.length }).toEqual({
      route,
      examples: 1,
    });
    for (const example of body?.examples ?? []) {
      const validate = schemaAt(...at, 'requestBody', 'content', 'application/json', 'schema');
      expect({ route, faults: faults(validate, example) }).toEqual({ route, faults: [] });
      examples++;
    }
    for (const [status, { content = {} }] of Object.entries(responses))
      for (const [type, { example }] of Object.entries(content)) {
        const validate = schemaAt(...at, 'responses', status, 'content', type, 'schema');
        expect({ route, status, faults: faults(validate, example) }).toEqual({ route, status, faults: [] });
        examples++;
      }
  }
  expect(examples).toBeGreaterThan(100);
});

/** Calls made, and the answers that they got, by operation. */
const answered = new Map<string, Set<string>>();

/** Makes a call and holds its answer against the document. */
async function call<Body = Record<string, unknown>>(
  route: string,
  path: Record<string, string> = {},
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Body }> {
  const [method = '', template = ''] = route.split(' ');
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(path[name] ?? ''));
  const query = path['?'] === undefined ? '' : `?${path['?']}`;
  // By hand, because a redirection is to be seen and not to be followed.
  const response = await fetch(`${stack.url}${filled}${query}`, {
    method,
    redirect: 'manual',
    headers: {
      sessionToken: stack.sessionToken,
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const status = String(response.status);
  const { content = {} } = operations().get(route)?.responses[status] ?? {};
  const [type] = Object.keys(content);
  const said = (response.headers.get('content-type') ?? '').split(';')[0];
  expect({ route, status, type: text === '' ? undefined : said, known: isKnown(route, status) }).toEqual({
    route,
    status,
    type,
    known: true,
  });
  const answer: unknown = said === 'application/json' ? JSON.parse(text) : text;
  if (type !== undefined) {
    const at = ['paths', template, method.toLowerCase(), 'responses', status, 'content', type, 'schema'];
    expect({ route, answer, faults: faults(schemaAt(...at), answer) }).toEqual({ route, answer, faults: [] });
  }
  answered.set(route, (answered.get(route) ?? new Set()).add(status));
  return { status: response.status, body: answer as Body };
}

function isKnown(route: string, status: string): boolean {
  return operations().get(route)?.responses[status] !== undefined;
}

test('every route answers as its schema says, when all is well and when it is not', async () => {
  const SESSION = '/auth/v1/session';
  const { body: session } = await call<{ sessionToken: string }>(`POST ${SESSION}`, {}, Stack.administrator);
  await call(`POST ${SESSION}`, {}, { ...Stack.administrator, password: 'wrong' });
  const { sessionToken } = session;
  await call(`PUT ${SESSION}`, {}, { sessionToken });
  await call(`DELETE ${SESSION}`, {}, { sessionToken });
  await call(`PUT ${SESSION}`, {}, { sessionToken });
  await call(`DELETE ${SESSION}`, {}, {});

  const ada = { email: 'ada@example.org', password: 'analytical engine' };
  const { body: account } = await call<{ id: string }>('POST /auth/v1/accounts', {}, ada);
  await call('POST /auth/v1/accounts', {}, ada);
  await call('PATCH /auth/v1/accounts/{id}', { id: account.id }, { displayName: 'Ada' });
  await call('PATCH /auth/v1/accounts/{id}', { id: '1' }, { active: false });
  await call('GET /auth/v1/accounts');
  const hers = (await call<{ sessionToken: string }>(`POST ${SESSION}`, {}, ada)).body;
  await call('GET /auth/v1/accounts', {}, undefined, hers);
  const change = { currentPassword: ada.password, newPassword: 'difference engine' };
  await call('PUT /auth/v1/password', {}, change, hers);
  await call('PUT /auth/v1/password', {}, change, hers);

  const newKey = { name: 'nightly', scope: 'read' };
  const { body: key } = await call<{ id: string; key: string }>('POST /auth/v1/keys', {}, newKey);
  await call('POST /auth/v1/keys', {}, {});
  await call('GET /auth/v1/keys');
  await call('GET /auth/v1/keys', {}, undefined, { sessionToken: key.key });
  await call('DELETE /auth/v1/keys/{id}', { id: key.id });
  await call('DELETE /auth/v1/keys/{id}', { id: key.id });

  const once = { 'Idempotency-Key': 'once' };
  const { body: backup } = await call<{ id: string }>('POST /repo/v1/startBackupDaemon', {}, {}, once);
  await call('POST /repo/v1/startBackupDaemon', {}, { url: 'x' });
  const { backupUrl } = await stack.finished(backup.id);
  const url = backupUrl ?? '';
  const name = url.slice(url.lastIndexOf('/') + 1);
  const { body: restore } = await call<{ id: string }>(
    'POST /repo/v1/startRestoreDaemon',
    {},
    { url, backupFirst: true },
  );
  await call('POST /repo/v1/startRestoreDaemon', {}, { url: 'https://example.org/elsewhere.zip' });
  await stack.finished(restore.id);
  const { body: verify } = await call<{ id: string }>('POST /repo/v1/startVerifyDaemon', {}, { url });
  await call('POST /repo/v1/startVerifyDaemon', {}, { url }, once);
  await stack.finished(verify.id);
  for (const id of [backup.id, restore.id, verify.id, '999'])
    await call('GET /repo/v1/daemonStatus/{id}', { id });
  await call('GET /repo/v1/daemonStatus/{id}/events', { id: verify.id });
  await call('GET /repo/v1/daemonStatus/{id}/events', { id: '999' });
  await call('GET /repo/v1/daemons', { '?': 'type=BACKUP&limit=1' });
  await call('GET /repo/v1/daemons', { '?': 'limit=0' });
  await call('DELETE /repo/v1/terminateDaemon/{id}', { id: verify.id });
  await call('DELETE /repo/v1/terminateDaemon/{id}', { id: '999' });

  const nightly = { name: 'nightly' };
  const schedule = { pattern: '0 0 1 1 *', retention: { last: 1 } };
  for (const body of [schedule, schedule, { pattern: 'never' }])
    await call('PUT /repo/v1/schedules/{name}', nightly, body);
  await call('GET /metrics');
  await call('GET /metrics', {}, undefined, { sessionToken: 'made up' });
  const shop = { systemIdentifier: '7580012345678901234', databaseOid: 16384, databaseName: 'shop' };
  const crm = { url: stack.env['DATABASE_URL'] };
  for (const [repository, body] of [
    ['crm', crm],
    ['crm', {}],
    ['new', {}],
    ['default', crm],
  ] as const)
    for (const route of ['POST /repo/v1/repositories/{name}/changes', 'PUT /repo/v1/repositories/{name}'])
      await call(route, { name: repository }, body);
  await call('GET /repo/v1/repositories');
  await call('GET /repo/v1/repositories', { '?': 'all=true' });
  for (const repository of ['crm', 'none', 'default']) {
    await call('GET /repo/v1/repositories/{name}', { name: repository });
    await call('GET /repo/v1/repositories/{name}/identity', { name: repository });
    await call('PUT /repo/v1/repositories/{name}/identity', { name: repository }, {});
    if (repository !== 'default')
      await call('PUT /repo/v1/repositories/{name}/identity', { name: repository }, shop);
    await call('DELETE /repo/v1/repositories/{name}', { name: repository });
  }
  await call('GET /repo/v1/schedules');
  await call('GET /repo/v1/schedules', { '?': 'all=true' });
  for (const path of [nightly, { name: 'daily' }]) {
    await call('GET /repo/v1/schedules/{name}', path);
    await call('GET /repo/v1/schedules/{name}/pruning', path);
    await call('POST /repo/v1/schedules/{name}/confirm', path);
    await call('POST /repo/v1/schedules/{name}/run', path);
    await call('DELETE /repo/v1/schedules/{name}', path);
  }

  await call('GET /repo/v1/backups', { '?': 'limit=100' });
  await call('GET /repo/v1/backups', { '?': 'limit=x' });
  for (const path of [{ name }, { name: 'none.zip' }]) {
    await call('GET /repo/v1/backups/{name}', path);
    await call('GET /repo/v1/backups/{name}/download', path);
    await call('DELETE /repo/v1/backups/{name}', path);
  }

  const connection = await queueConnection(
    new Secret(stack.env['QUEUE_URL'] ?? ''),
    'worker',
    createLogger('test', 'silent'),
  );
  const queue: WorkerJobQueue = new Queue(WORKER_QUEUE, connection);
  const kept = { name: 'shop_before', of: 'shop', oid: 1, owner: 'o', mark: 'm', keptOn: 1 };
  await new KeptDatabases(queue, new Keys([new Secret(Stack.secretKey)])).add({
    ...kept,
    repository: 'default',
    daemon: '1',
    startedBy: '',
  });
  await queue.close();
  await call('GET /repo/v1/databases');
  await call('GET /repo/v1/databases', { '?': 'all=true' });
  for (const database of [kept.name, 'shop'])
    await call('DELETE /repo/v1/databases/{name}', { name: database });

  for (const headers of [{}, { sessionToken: 'made up' }]) {
    await call('GET /repo/v1/workers', {}, undefined, headers);
    await call('GET /repo/v1/repository/identity', {}, undefined, headers);
  }
  const { identity } = (await call<{ identity: Record<string, unknown> }>('GET /repo/v1/repository/identity'))
    .body;
  await call('PUT /repo/v1/repository/identity', {}, identity);
  for (const databaseName of ['a\0b', '\ud800', ''])
    expect((await call('PUT /repo/v1/repository/identity', {}, { ...identity, databaseName })).status).toBe(
      400,
    );
  for (const repository of ['default', 'none']) {
    await call('POST /repo/v1/check', {}, { repository });
    await call('GET /repo/v1/check', { '?': `repository=${repository}` });
    await call('POST /repo/v1/restorePlan', {}, { url, repository });
  }
  await call('GET /repo/v1/audit');
  await call('GET /repo/v1/audit', { '?': 'since=yesterday' });
  await call('GET /health/live');
  await call('GET /health/ready');

  const without = [...operations().keys()].filter((route) => !/^GET \/health/.test(route));
  const incomplete = without.filter((route) => {
    const statuses = [...(answered.get(route) ?? [])];
    return !statuses.some((status) => status < '400') || !statuses.some((status) => status >= '400');
  });
  expect(incomplete).toEqual([]);
});

describe('the page', () => {
  const STATIC = dirname(require.resolve('swagger-ui-dist/package.json'));

  test('leads a browser to the login, lets a script in by HTTP Basic, and carries both on by a cookie', async () => {
    expect((await stack.call('GET', '/docs', undefined, {})).status).toBe(401);
    const browser = await fetch(`${stack.url}/docs`, {
      headers: { accept: 'text/html' },
      redirect: 'manual',
    });
    expect(browser.status).toBe(303);
    expect(browser.headers.get('location')).toBe('/admin/login?next=%2Fdocs');
    const { email, password } = Stack.administrator;
    const authorization = `Basic ${Buffer.from(`${email}:${password}`).toString('base64')}`;
    const page = await stack.call<string>('GET', '/docs', undefined, { authorization });
    expect(page.status).toBe(200);
    const cookie = page.headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(/^snapshotd_session_\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
    const headers = { cookie: cookie.split(';')[0] ?? '' };
    for (const path of ['/docs', '/docs/swagger-ui-init.js', '/docs/swagger-ui-bundle.js', '/docs-json'])
      expect({ path, ...(await stack.call('GET', path, undefined, headers)) }).toMatchObject({
        path,
        status: 200,
      });
  });

  test('takes nothing from the internet', async () => {
    const page = await stack.call<string>('GET', '/docs');
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'self';/);
    const links = [...page.body.matchAll(/(?:src|href)="([^"#]*)"/g)].map(([, part = '']) => part);
    // The way back to the console is no part of the page.
    expect(links).toContain('/admin');
    const parts = links.filter((link) => link !== '/admin');
    expect(parts).toContain('./docs/swagger-ui-bundle.js');
    expect(page.body).not.toMatch(/<script(?![^>]* src=)/);
    for (const part of parts) {
      const address = new URL(part, `${stack.url}/docs`);
      expect(address.origin).toBe(stack.url);
      const { status, headers } = await stack.call('GET', address.pathname);
      expect({ part, status }).toEqual({ part, status: 200 });
      expect(headers.get('content-security-policy')).toMatch(/^default-src 'self';/);
    }
    for (const path of readdirSync(STATIC).filter((name) => name.endsWith('.css')))
      expect(readFileSync(join(STATIC, path), 'utf8')).not.toMatch(/url\(["']?(https?:)?\/\/|@import/);
    // The page requests no other address, whether configured or built in.
    const { body } = await stack.call<string>('GET', '/docs/swagger-ui-init.js');
    expect(body).toMatch(/"validatorUrl": null/);
  });
});
