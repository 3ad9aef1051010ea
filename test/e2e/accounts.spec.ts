import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../support/servers.js';
import type { Answer } from '../../dev/index.js';
import { Stack } from '../support/stack.js';
import { type DaemonStatus, KEY_SCOPES, type KeyScope } from '#contracts';
import { isOpen, routesFile } from '../support/routes.js';

interface Account {
  id: string;
  email: string;
  displayName: string;
  administrator: boolean;
  active: boolean;
  createdOn: number;
}

interface Key {
  id: string;
  name: string;
  scope: KeyScope;
  createdBy: string;
  createdOn: number;
  expiresOn: number | null;
  lastUsedOn: number | null;
  key: string;
}

interface Event {
  id: string;
  on: number;
  account: string;
  key: string | null;
  action: string;
  subject: string | null;
  outcome: string;
  address: string;
  count: number;
}

type Refused = Answer<{ reason: string }>;

/** The scopes that include another: repeated here, so that a mistake in the policies cannot open a route. */
const MAY_DO: Record<KeyScope, string[]> = {
  read: ['read'],
  start: ['read', 'start'],
  everything: ['read', 'start', 'everything'],
};
/** Routes that keys of the scope `read` may not use. */
const STARTS = [
  'POST /repo/v1/startBackupDaemon',
  'POST /repo/v1/startVerifyDaemon',
  'POST /repo/v1/check',
  'POST /repo/v1/restorePlan',
  'DELETE /repo/v1/terminateDaemon/:id',
];
/** Routes that keys of the scope `start` may not use, either. */
const CHANGES_OR_GIVES_AWAY = [
  'DELETE /repo/v1/databases/:name',
  'POST /repo/v1/startRestoreDaemon',
  'GET /repo/v1/backups/:name/download',
  'DELETE /repo/v1/backups/:name',
  'PUT /repo/v1/repository/identity',
  'PUT /repo/v1/repositories/:name',
  'PUT /repo/v1/repositories/:name/identity',
  'DELETE /repo/v1/repositories/:name',
  'PUT /repo/v1/schedules/:name',
  'DELETE /repo/v1/schedules/:name',
  'POST /repo/v1/schedules/:name/confirm',
  'POST /repo/v1/schedules/:name/run',
  'POST /repo/v1/repositories/:name/changes',
];
/** Routes that no key may use, besides the console. */
const FOR_PEOPLE = [
  'GET /auth/v1/accounts',
  'POST /auth/v1/accounts',
  'PATCH /auth/v1/accounts/:id',
  'PUT /auth/v1/password',
  'GET /auth/v1/keys',
  'POST /auth/v1/keys',
  'DELETE /auth/v1/keys/:id',
];

function neededScope(route: string): KeyScope | 'session' {
  if (STARTS.includes(route)) return 'start';
  if (CHANGES_OR_GIVES_AWAY.includes(route)) return 'everything';
  if (FOR_PEOPLE.includes(route)) return 'session';
  if (/ \/admin\/queues$/.test(route)) return 'everything';
  return / \/(admin|$)/.test(route) ? 'session' : 'read';
}

const file = routesFile();
let stack: Stack;
let own: Account;
const database = () => stack.env['DATABASE_URL'] ?? '';

beforeAll(async () => {
  stack = await Stack.start({ workers: 0, env: file.env });
  const [first] = (await stack.call<{ accounts: Account[] }>('GET', '/auth/v1/accounts')).body.accounts;
  if (first === undefined) throw new Error('There is no account');
  own = first;
});
afterAll(() => stack.stop());

let names = 0;
async function newAccount(more: object = {}): Promise<Account & { password: string }> {
  const account = { email: `person-${++names}@example.org`, password: `secret of ${names}`, ...more };
  const { status, body } = await stack.call<Account>('POST', '/auth/v1/accounts', account);
  expect(status).toBe(201);
  return { ...body, password: account.password };
}

async function newKey(scope: KeyScope, token = stack.sessionToken): Promise<Key> {
  const { status, body } = await as<Key>(token, 'POST', '/auth/v1/keys', { name: `key ${++names}`, scope });
  expect(status).toBe(201);
  return body;
}

/** Logs in. @returns the token */
async function session({ email, password }: { email: string; password: string }): Promise<string> {
  const { status, body } = await login(email, password);
  expect(status).toBe(201);
  return body.sessionToken;
}

function login(email: string, password: string) {
  return stack.call<{ sessionToken: string; reason: string }>('POST', '/auth/v1/session', {
    email,
    password,
  });
}

function as<Body = { reason: string }>(token: string, method: string, path: string, body?: unknown) {
  return stack.call<Body>(method, path, body, { sessionToken: token });
}

/** Polls a job that does not exist: 404 for users who may poll. */
async function poll(token: string): Promise<number> {
  return (await as(token, 'GET', '/repo/v1/daemonStatus/999')).status;
}

function change(id: string, changes: object, token = stack.sessionToken) {
  return as<Account & { reason: string }>(token, 'PATCH', `/auth/v1/accounts/${id}`, changes);
}

async function audited(filter = ''): Promise<Event[]> {
  const { status, body } = await stack.call<{ events: Event[] }>('GET', `/repo/v1/audit?limit=100${filter}`);
  expect(status).toBe(200);
  return body.events;
}

describe('accounts', () => {
  test('an administrator makes accounts, sees them, and changes them', async () => {
    const made = await stack.call<Account>('POST', '/auth/v1/accounts', {
      email: 'Grace@Example.org',
      displayName: 'Grace Hopper',
      password: 'nanosecond',
    });
    expect(made.status).toBe(201);
    const grace = made.body;
    expect(grace).toEqual({
      id: expect.stringMatching(/^\d+$/),
      email: 'grace@example.org',
      displayName: 'Grace Hopper',
      administrator: false,
      active: true,
      createdOn: expect.any(Number),
    });
    const { body } = await stack.call<{ accounts: Account[] }>('GET', '/auth/v1/accounts');
    expect(body.accounts).toEqual([own, grace]);
    expect(await change(grace.id, { displayName: 'Amazing Grace', administrator: true })).toMatchObject({
      status: 200,
      body: { ...grace, displayName: 'Amazing Grace', administrator: true },
    });
    const token = await session({ email: grace.email, password: 'nanosecond' });
    expect(await poll(token)).toBe(404);
    await change(grace.id, { administrator: false });
    expect(await poll(token)).toBe(403);
    expect(
      await stack.call('POST', '/auth/v1/accounts', { email: 'GRACE@example.org', password: '12345678' }),
    ).toMatchObject({
      status: 409,
      body: { reason: 'There is an account of this email already.' },
    });
  });

  test.each([
    [
      { email: 'a@example.org', password: '1234567' },
      'password: Too small: expected string to have >=8 characters.',
    ],
    [
      { email: 'a@example.org', password: 'x'.repeat(1025) },
      'password: Too big: expected string to have <=1024 characters.',
    ],
    [{ email: 'nobody', password: '12345678' }, 'email: Invalid email address.'],
    [
      { email: 'a@example.org', password: '12345678', displayName: 'two\nlines' },
      'displayName: must be one line without control characters.',
    ],
    [{ email: 'a@example.org', password: '12345678', role: 'root' }, 'Unrecognized key: "role".'],
  ])('an invalid account, case %#, is a 400', async (body, reason) => {
    expect(await stack.call('POST', '/auth/v1/accounts', body)).toMatchObject({
      status: 400,
      body: { reason },
    });
  });

  test.each(['0', '999999', '9'.repeat(18), '9'.repeat(30), 'x', '__proto__'])(
    'an account and a key of the id %s are a 404',
    async (id) => {
      expect((await change(id, { displayName: 'Nobody' })).status).toBe(404);
      expect((await stack.call('DELETE', `/auth/v1/keys/${id}`)).status).toBe(404);
    },
  );

  test('everyone changes their own password, which ends their other sessions', async () => {
    const ada = await newAccount();
    const [here, elsewhere] = [await session(ada), await session(ada)];
    const put = (currentPassword: string, newPassword: string) =>
      as(here, 'PUT', '/auth/v1/password', { currentPassword, newPassword });
    expect(await put('wrong', 'analytical')).toMatchObject({
      status: 403,
      body: { reason: 'The current password is wrong.' },
    });
    expect((await put(ada.password, 'short')).status).toBe(400);
    expect(await poll(elsewhere)).toBe(403);
    expect(await put(ada.password, 'analytical')).toMatchObject({ status: 204, body: '' });
    expect([await poll(here), await poll(elsewhere)]).toEqual([403, 401]);
    expect((await login(ada.email, ada.password)).status).toBe(401);
    expect((await login(ada.email, 'analytical')).status).toBe(201);
  });

  test('guesses at the current password of a session that was stolen are limited as logins are', async () => {
    const victim = await newAccount();
    const stolen = await session(victim);
    const guesses: number[] = [];
    for (let i = 0; i < 11; i++)
      guesses.push(
        (
          await as(stolen, 'PUT', '/auth/v1/password', {
            currentPassword: `guess ${i}`,
            newPassword: '12345678',
          })
        ).status,
      );
    expect(guesses).toEqual([...Array<number>(10).fill(403), 429]);
  });

  test('a reset of the password ends the sessions of its account', async () => {
    const ada = await newAccount();
    const token = await session(ada);
    expect((await change(ada.id, { password: 'another one' })).status).toBe(200);
    expect(await poll(token)).toBe(401);
    expect((await login(ada.email, ada.password)).status).toBe(401);
    expect((await login(ada.email, 'another one')).status).toBe(201);
  });

  test('a deactivated account has no sessions and no API keys from this moment on, not even when it comes back', async () => {
    const bob = await newAccount({ administrator: true });
    const token = await session(bob);
    const { key } = await newKey('everything', token);
    expect([await poll(token), await poll(key)]).toEqual([404, 404]);
    expect(await change(bob.id, { active: false })).toMatchObject({ status: 200, body: { active: false } });
    expect([await poll(token), await poll(key)]).toEqual([401, 401]);
    expect(await as(token, 'PUT', '/auth/v1/session', { sessionToken: token })).toMatchObject({
      status: 401,
    });
    expect(await login(bob.email, bob.password)).toMatchObject({
      status: 401,
      body: { reason: 'The email or the password is wrong.' },
    });
    await change(bob.id, { active: true });
    expect([await poll(token), await poll(key)]).toEqual([401, 401]);
    expect(await poll(await session(bob))).toBe(404);
  });

  test('continuous polling is refused as soon as the end of the session or key is answered', async () => {
    const lateAnswers: number[] = [];
    for (const way of ['deactivation', 'logout', 'key', 'deactivation', 'logout', 'key']) {
      const bob = await newAccount({ administrator: true });
      const loginToken = await session(bob);
      const key = await newKey('read', loginToken);
      const token = way === 'key' ? key.key : loginToken;
      const end = () => {
        if (way === 'deactivation') return change(bob.id, { active: false });
        if (way === 'key') return as(stack.sessionToken, 'DELETE', `/auth/v1/keys/${key.id}`);
        return as(loginToken, 'DELETE', '/auth/v1/session', { sessionToken: loginToken });
      };
      let ended = Infinity;
      let refusals = 0;
      const pollers = [1, 2, 3].map(async () => {
        while (refusals < 20) {
          const asked = performance.now();
          const status = await poll(token);
          if (status === 401) refusals++;
          else if (asked > ended) lateAnswers.push(status);
        }
      });
      await sleep(100);
      expect((await end()).status).toBeLessThan(300);
      ended = performance.now();
      await Promise.all(pollers);
    }
    expect(lateAnswers).toEqual([]);
  });

  test('a login beside a reset or a deactivation never leaves a session that outlives it', async () => {
    for (const changes of [{ password: 'another one' }, { active: false }]) {
      const ada = await newAccount({ administrator: true });
      const [logins] = await Promise.all([
        Promise.all(Array.from({ length: 5 }, () => login(ada.email, ada.password))),
        change(ada.id, changes),
      ]);
      for (const { status, body } of logins) {
        expect([201, 401]).toContain(status);
        if (status === 201) expect(await poll(body.sessionToken)).toBe(401);
      }
      expect(await sql(database(), 'SELECT FROM snapshotd.session WHERE account_id = $1', [ada.id])).toEqual(
        [],
      );
    }
  });
});

describe('the last active administrator', () => {
  /** Nobody else is one here. */
  beforeAll(() => sql(database(), 'UPDATE snapshotd.account SET administrator = (id = $1)', [own.id]));

  test.each([{ active: false }, { administrator: false }])('cannot be changed by %j', async (changes) => {
    expect(await change(own.id, changes)).toMatchObject({
      status: 409,
      body: {
        reason: 'This is the last active administrator. Make another account an administrator first.',
      },
    });
    expect(await poll(stack.sessionToken)).toBe(404);
  });

  test('stays when two administrators demote or deactivate each other at once', async () => {
    const other = await newAccount({ administrator: true });
    for (const changes of [{ administrator: false }, { active: false }, { administrator: false }]) {
      await sql(
        database(),
        'UPDATE snapshotd.account SET administrator = true, active = true WHERE id = ANY($1)',
        [[own.id, other.id]],
      );
      const tokens = [await stack.login(), await session(other)] as const;
      const answers = await Promise.all([
        change(other.id, changes, tokens[0]),
        change(own.id, changes, tokens[1]),
      ]);
      const statuses = answers.map(({ status }) => status);
      // The second caller is the last administrator, or has lost the role before the call arrives.
      expect(statuses.filter((status) => status === 200)).toHaveLength(1);
      expect([401, 403, 409]).toContain(statuses.find((status) => status !== 200));
      expect(
        await sql(database(), 'SELECT id FROM snapshotd.account WHERE administrator AND active'),
      ).toHaveLength(1);
    }
    await sql(
      database(),
      'UPDATE snapshotd.account SET administrator = (id = $1), active = true WHERE id = ANY($2)',
      [own.id, [own.id, other.id]],
    );
    await stack.login();
  });
});

describe('API keys', () => {
  test('are shown once, and stored as a hash', async () => {
    const expiresOn = Date.now() + 3_600_000;
    const { status, body } = await stack.call<Key>('POST', '/auth/v1/keys', {
      name: 'nightly',
      scope: 'start',
      expiresOn,
    });
    const { key, ...shown } = body;
    expect(status).toBe(201);
    expect(key).toMatch(/^snapshotd_[\w-]{43}$/);
    expect(shown).toEqual({
      id: expect.stringMatching(/^\d+$/),
      name: 'nightly',
      scope: 'start',
      createdBy: own.email,
      createdOn: expect.any(Number),
      expiresOn,
      lastUsedOn: null,
    });
    const { body: list } = await stack.call<{ keys: Key[] }>('GET', '/auth/v1/keys');
    expect(list.keys.filter(({ name }) => name === 'nightly')).toEqual([shown]);
    const stored = await sql<{ fits: boolean; all: string }>(
      database(),
      'SELECT key_hash = sha256($1::text::bytea) AS fits, k::text AS all FROM snapshotd.api_key k WHERE id = $2',
      [key, shown.id],
    );
    expect(stored).toEqual([{ fits: true, all: expect.not.stringContaining(key) }]);
  });

  test('act as the account that made them, in either header', async () => {
    const { key } = await newKey('start');
    for (const headers of [{ sessionToken: key }, { authorization: `Bearer ${key}` }])
      expect(
        await stack.call('POST', '/repo/v1/startBackupDaemon', {}, headers as Record<string, string>),
      ).toMatchObject({
        status: 201,
        body: { startedBy: own.email },
      });
  });

  test('start verifications with the scope start, and drills with no less than everything', async () => {
    const verify = (key: string, body: object) =>
      as<DaemonStatus & { reason: string }>(key, 'POST', '/repo/v1/startVerifyDaemon', {
        url: 'a.zip',
        ...body,
      });
    const { key, name } = await newKey('start');
    for (const more of [{}, { restoreDrill: false }]) expect((await verify(key, more)).status).toBe(201);
    expect(await verify(key, { restoreDrill: true })).toMatchObject({
      status: 403,
      body: { reason: `A restore drill needs an API key of the scope everything, and ${name} has start.` },
    });
    expect((await verify(key, { level: 'READ' })).status).toBe(201);
    expect((await verify(key, { level: 'DRILL' })).status).toBe(403);
    for (const drill of ['true', 1, [true]])
      expect((await verify(key, { restoreDrill: drill })).status).toBe(400);
    for (const token of [(await newKey('everything')).key, stack.sessionToken])
      expect((await verify(token, { restoreDrill: true })).status).toBe(201);
    const { body: audit } = await stack.call<{ events: Event[] }>(
      'GET',
      `/repo/v1/audit?action=verify.start`,
    );
    expect(audit.events.filter((event) => event.key === name && event.outcome === '403')).toHaveLength(1);
  });

  test('end when they are revoked, when they expire, and when their account loses the administrator role', async () => {
    const ended = {
      status: 401,
      body: {
        reason:
          'The API key does not exist, has expired or was revoked. Create another one with POST /auth/v1/keys.',
      },
    };
    const ask = (key: string): Promise<Refused> => as(key, 'GET', '/repo/v1/daemonStatus/999');
    const revoked = await newKey('read');
    expect((await ask(revoked.key)).status).toBe(404);
    expect((await stack.call('DELETE', `/auth/v1/keys/${revoked.id}`)).status).toBe(204);
    expect(await ask(revoked.key)).toMatchObject(ended);
    expect((await stack.call('DELETE', `/auth/v1/keys/${revoked.id}`)).status).toBe(404);

    const expired = await newKey('read');
    expect((await ask(expired.key)).status).toBe(404);
    await stack.changeByHand(
      `UPDATE snapshotd.api_key SET expires_on = now() - interval '1 second' WHERE id = $1`,
      [expired.id],
    );
    expect(await ask(expired.key)).toMatchObject(ended);
    expect(await ask(`snapshotd_${'A'.repeat(43)}`)).toMatchObject(ended);

    const bob = await newAccount({ administrator: true });
    const { key } = await newKey('everything', await session(bob));
    expect((await ask(key)).status).toBe(404);
    await change(bob.id, { administrator: false });
    expect(await ask(key)).toMatchObject({
      status: 403,
      body: { reason: 'Only administrators may do this.' },
    });
  });

  test('note when they were last used, once a minute at most', async () => {
    const { id, key } = await newKey('read');
    const lastUsedOn = async () =>
      (await stack.call<{ keys: Key[] }>('GET', '/auth/v1/keys')).body.keys.find((each) => each.id === id)
        ?.lastUsedOn;
    const age = (interval: string) =>
      stack.changeByHand(
        `UPDATE snapshotd.api_key SET last_used_on = now() - interval '${interval}' WHERE id = $1`,
        [id],
      );
    await poll(key);
    expect(await lastUsedOn()).toEqual(expect.any(Number));
    await age('30 seconds');
    const before = await lastUsedOn();
    await poll(key);
    expect(await lastUsedOn()).toBe(before);
    await age('61 seconds');
    await poll(key);
    expect(await lastUsedOn()).toBeGreaterThan(before ?? Infinity);
  });

  test.each([
    [{ name: 'x', scope: 'root' }, 400, /^scope: /],
    [{ name: '', scope: 'read' }, 400, /^name: /],
    [{ name: 'x', scope: 'read', expiresOn: 1 }, 400, /^expiresOn: choose a time in the future/],
    [{ name: 'x', scope: 'read', expiresOn: 1e15 }, 400, /^expiresOn: /],
    [{ name: 'taken', scope: 'read' }, 409, /^There is a key of this name\./],
  ])('%j is refused', async (body, status, reason) => {
    await stack.call('POST', '/auth/v1/keys', { name: 'taken', scope: 'read' });
    expect(await stack.call('POST', '/auth/v1/keys', body)).toMatchObject({
      status,
      body: { reason: expect.stringMatching(reason) },
    });
  });

  describe.each(KEY_SCOPES)('of the scope %s', (scope) => {
    let key: Key;
    beforeAll(async () => {
      key = await newKey(scope);
    });

    test('are let in to the routes of this scope, and to no others', async () => {
      const routes = file
        .routes()
        .filter(([method, url]) => method !== 'HEAD' && !isOpen(method, url))
        .filter(([, url]) => !/^\/(docs|admin\/queues)\//.test(url));
      expect(routes.length).toBeGreaterThan(45);
      for (const [method, url] of routes) {
        const route = `${method} ${url}`;
        const needs = neededScope(route);
        // This names and does nothing: ids that do not exist, and bodies that no route accepts.
        const path = url.replace(/:\w+/g, '0');
        const body = method === 'GET' ? undefined : { no: 'such field' };
        const { status, body: answer } = await as(key.key, method, path, body);
        if (MAY_DO[scope].includes(needs)) {
          expect({ route, status: [200, 400, 404].includes(status) ? 'let in' : status }).toEqual({
            route,
            status: 'let in',
          });
          expect(answer.reason ?? '').not.toMatch(/^Cannot (GET|PUT|POST|PATCH|DELETE) /);
        } else
          expect({ route, status, reason: answer.reason }).toEqual({
            route,
            status: 403,
            reason:
              needs === 'session'
                ? 'No API key may do this: log in with POST /auth/v1/session.'
                : `This needs an API key of the scope ${needs}, and ${key.name} has ${scope}.`,
          });
      }
    });
  });
});

describe('the audit', () => {
  test('records for every action the account, address, time, subject and outcome', async () => {
    const since = Date.now();
    const bob = await newAccount({ administrator: true });
    const token = await session(bob);
    await login(bob.email, 'not the password');
    const { key, ...shown } = await newKey('read', token);
    const backup = (await as<{ id: string }>(token, 'POST', '/repo/v1/startBackupDaemon', {})).body;
    const url = 'BackupDaemonJob1-1.zip';
    const restore = (await as<{ id: string }>(token, 'POST', '/repo/v1/startRestoreDaemon', { url })).body;
    const verify = (await as<{ id: string }>(token, 'POST', '/repo/v1/startVerifyDaemon', { url })).body;
    await as(token, 'POST', '/repo/v1/startVerifyDaemon', {
      url: 'https://me:swordfish@elsewhere.example/a.zip?X-Amz-Signature=swordfish',
    });
    await as(key, 'POST', '/repo/v1/startBackupDaemon', {});
    await as(token, 'DELETE', `/repo/v1/terminateDaemon/${backup.id}`);
    await as(token, 'DELETE', '/repo/v1/terminateDaemon/1%00');
    await as(token, 'DELETE', `/auth/v1/keys/${shown.id}`);
    await as(token, 'PUT', '/auth/v1/password', { currentPassword: bob.password, newPassword: 'swordfish' });
    await change(bob.id, { displayName: 'Robert', administrator: false, password: 'swordfish' });

    const by = { account: bob.email, key: null, repository: null, address: '127.0.0.1', count: 1 };
    const events = (await audited(`&since=${since}`)).reverse();
    expect(events).toEqual(
      [
        {
          ...by,
          account: own.email,
          action: 'account.create',
          subject: `${bob.id}: ${bob.email}`,
          outcome: '201',
        },
        { ...by, action: 'login', subject: null, outcome: '201' },
        { ...by, action: 'login', subject: null, outcome: '401' },
        { ...by, action: 'key.create', subject: `${shown.id}: ${shown.name}`, outcome: '201' },
        { ...by, action: 'backup.start', subject: backup.id, outcome: '201' },
        { ...by, action: 'restore.start', subject: `${restore.id}: ${url}`, outcome: '201' },
        { ...by, action: 'verify.start', subject: `${verify.id}: ${url}`, outcome: '201' },
        { ...by, action: 'verify.start', subject: 'https://elsewhere.example/a.zip', outcome: '400' },
        { ...by, key: shown.name, action: 'backup.start', subject: null, outcome: '403' },
        { ...by, action: 'daemon.terminate', subject: backup.id, outcome: '204' },
        { ...by, action: 'daemon.terminate', subject: '1 ', outcome: '404' },
        { ...by, action: 'key.revoke', subject: shown.id, outcome: '204' },
        { ...by, action: 'password.change', subject: null, outcome: '204' },
        {
          ...by,
          account: own.email,
          action: 'account.change',
          subject: `${bob.id}: displayName, administrator false, password`,
          outcome: '200',
        },
      ].map((event) => ({ id: expect.any(String), on: expect.any(Number), ...event })),
    );
    for (const { on } of events) expect(on >= since && on <= Date.now()).toBe(true);

    const [{ all } = { all: '' }] = await sql<{ all: string }>(
      database(),
      `SELECT (SELECT json_agg(e) FROM snapshotd.audit_event e)::text || (SELECT json_agg(o) FROM snapshotd.audit_outcome o)::text AS all`,
    );
    for (const secret of [token, key, bob.password, 'swordfish', 'not the password', stack.sessionToken])
      expect(all + stack.logs()).not.toContain(secret);
  });

  test('is read in pages, newest first, by action, account and time', async () => {
    const page = async (query: string) =>
      (await stack.call<{ events: Event[]; total: number }>('GET', `/repo/v1/audit${query}`)).body;
    const all = await page('?limit=5');
    expect(all.events).toHaveLength(5);
    expect(all.events.map(({ id }) => Number(id))).toEqual(
      all.events.map(({ id }) => Number(id)).sort((a, b) => b - a),
    );
    expect(await page('?limit=2&offset=3')).toEqual({ events: all.events.slice(3), total: all.total });
    expect((await page('')).events).toHaveLength(20);
    const keys = await page('?action=key.revoke');
    expect(new Set(keys.events.map(({ action }) => action))).toEqual(new Set(['key.revoke']));
    expect(keys.total).toBe(keys.events.length);
    expect((await page(`?account=${own.email.toUpperCase()}&limit=1`)).events).toMatchObject([
      { account: own.email },
    ]);
    expect(await page(`?since=${Date.now() + 60_000}`)).toEqual({ events: [], total: 0 });
    for (const query of [
      '?limit=0',
      '?limit=101',
      '?offset=-1',
      '?since=yesterday',
      '?order=asc',
      '?action=%00',
    ])
      expect((await stack.call('GET', `/repo/v1/audit${query}`)).status).toBe(400);
  });

  test('has one event a minute for what is refused to an account, with its count, also when the API ends', async () => {
    const guesser = `${'g'.repeat(308)}@example.org`;
    for (let i = 0; i < 14; i++) await login(guesser, `guess ${i}`);
    const bob = await newAccount({ administrator: true });
    const reader = await newKey('read', await session(bob));
    const start = () => as(reader.key, 'POST', '/repo/v1/startBackupDaemon', {});
    for (let i = 0; i < 9; i++) expect((await start()).status).toBe(403);
    await as(reader.key, 'DELETE', '/repo/v1/terminateDaemon/5');
    const ada = await newAccount();
    const token = await session(ada);
    const passwords = { currentPassword: 'wrong', newPassword: 'another one' };
    for (let i = 0; i < 12; i++) await as(token, 'PUT', '/auth/v1/password', passwords);

    const counts = async (filter: string) =>
      (await audited(filter)).map(({ outcome, count }) => `${count} ${outcome}`);
    const refused = `&account=${bob.email}&action=backup.start`;
    expect(await audited(refused)).toMatchObject([{ key: reader.name, outcome: '403', count: 1 }]);
    expect(await counts(`&account=${guesser}`)).toEqual(['1 401']);
    await stack.restartApi('SIGTERM');
    expect(await counts(`&account=${guesser}`)).toEqual(['13 429', '1 401']);
    expect(await counts(refused)).toEqual(['8 403', '1 403']);
    expect(await counts(`&account=${ada.email}&action=password.change`)).toEqual(['11 429', '1 403']);
    expect(await counts(`&account=${bob.email}&action=daemon.terminate`)).toEqual(['1 403']);
  });

  test('records no requests without an account, and cuts an email to its maximum length', async () => {
    // HTTP Basic holds emails to no length.
    const basic = Buffer.from(`${'h'.repeat(4_000)}:guess`).toString('base64');
    await stack.call('GET', '/admin/queues', undefined, { authorization: `Basic ${basic}` });
    expect(await audited(`&account=${'h'.repeat(320)}`)).toMatchObject([{ outcome: '401' }]);
    const before = (await audited())[0]?.id;
    await stack.call('POST', '/repo/v1/startBackupDaemon', {}, {});
    await as(`snapshotd_${'B'.repeat(43)}`, 'POST', '/repo/v1/startBackupDaemon', {});
    expect((await audited())[0]?.id).toBe(before);
  });

  test('refuses to be changed, to the owner of its tables and with triggers put to sleep', async () => {
    const owner = `owner_${Date.now()}`;
    const tables = ['snapshotd.audit_event', 'snapshotd.audit_outcome'];
    const give = (role: string) => tables.map((table) => `ALTER TABLE ${table} OWNER TO ${role};`).join(' ');
    await sql(
      database(),
      `CREATE ROLE ${owner}; GRANT USAGE, CREATE ON SCHEMA snapshotd TO ${owner}; ${give(owner)}`,
    );
    try {
      for (const setting of [`SET ROLE ${owner}`, 'SET session_replication_role = replica'])
        for (const statement of [
          `UPDATE snapshotd.audit_event SET account = 'somebody else'`,
          'UPDATE snapshotd.audit_outcome SET status = 200',
          ...tables.map((table) => `DELETE FROM ${table}`),
          'TRUNCATE snapshotd.audit_outcome',
          `TRUNCATE ${tables.join(', ')}`,
        ])
          await expect(sql(database(), `${setting}; ${statement}`)).rejects.toThrow(
            /^The audit is append-only: (UPDATE|DELETE|TRUNCATE) on snapshotd\.audit_\w+ is refused\.$/,
          );
    } finally {
      await sql(database(), `${give('CURRENT_USER')} DROP OWNED BY ${owner}; DROP ROLE ${owner}`);
    }
  });

  test('an action that cannot be recorded is not carried out', async () => {
    const daemons = async () =>
      (await sql<{ n: number }>(database(), 'SELECT count(*)::int AS n FROM snapshotd_queue.job'))[0]?.n;
    const before = await daemons();
    await sql(database(), 'ALTER TABLE snapshotd.audit_event RENAME TO audit_event_away');
    try {
      const unrecorded = {
        status: 503,
        body: {
          reason: 'Nothing was done, because the audit cannot record it. Try again in a moment.',
        },
      };
      expect(await stack.call('POST', '/repo/v1/startBackupDaemon', {})).toMatchObject(unrecorded);
      expect(await login(own.email, Stack.administrator.password)).toMatchObject(unrecorded);
      expect(await poll(stack.sessionToken)).toBe(404);
    } finally {
      await sql(database(), 'ALTER TABLE snapshotd.audit_event_away RENAME TO audit_event');
    }
    expect(await daemons()).toBe(before);
  });

  test('an action whose end could not be recorded has an unknown outcome', async () => {
    await sql(database(), 'ALTER TABLE snapshotd.audit_outcome RENAME TO audit_outcome_away');
    let started: Answer<{ id: string }>;
    try {
      started = await stack.call<{ id: string }>('POST', '/repo/v1/startBackupDaemon', {});
    } finally {
      await sql(database(), 'ALTER TABLE snapshotd.audit_outcome_away RENAME TO audit_outcome');
    }
    expect(started.status).toBe(201);
    expect((await audited())[0]).toMatchObject({ action: 'backup.start', subject: null, outcome: 'unknown' });
    expect(stack.logs()).toContain('Cannot record the outcome of a call in the audit');
  });
});
