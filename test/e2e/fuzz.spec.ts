import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { formToken } from '../../apps/api/auth/tokens.js';
import { RawConnection, type RawAnswer } from '../support/raw-http.js';
import { routesFile } from '../support/routes.js';
import { oneOf, queues, thorough } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { tried } from '../support/tried.js';

/** On each queue. */
const REQUESTS = thorough ? 10_000 : 2_000;
/** Requests that are on their way at the same time. */
const CONNECTIONS = 16;
/** An answer that takes longer is one that does not come. */
const HANG_MS = 30_000;
/** The memory that the API may gain over all of these requests, after the first tenth. */
const MAY_GROW_BYTES = 150 * 1024 * 1024;

// The same requests each time, so that a change that has nothing to do with them does not fail by them: others are
// tried with FUZZ_SEED.
const seed = Number(process.env['FUZZ_SEED'] ?? 766365700);

const ODD_TEXTS = [
  '__proto__',
  'constructor',
  'toString',
  '%00',
  '1%00',
  '%0d%0aX-Injected:%201',
  '..%2f..%2fetc%2fpasswd',
  '%2e%2e/%2e%2e',
  '..\\..',
  '%',
  '%zz',
  '%E0%A4%A',
  '%ed%a0%80',
  '%ff%fe',
  '*',
  '-1',
  '0',
  '1',
  '01',
  '1.5',
  '1e3',
  '9223372036854775807',
  '9223372036854775808',
  '9999999999999999999',
  '9'.repeat(400),
  '9'.repeat(20_000),
  "1';DROP TABLE snapshotd.account;--",
  '${jndi:ldap://127.0.0.1/a}',
  '{{7*7}}',
  'ä☃😀',
  '',
];
const ODD_VALUES: unknown[] = [
  ...ODD_TEXTS,
  '\0',
  'a\0b.c',
  '\ud800',
  '\udfff.\ud800',
  'x'.repeat(3_000),
  null,
  true,
  -1,
  1e308,
  [],
  {},
  [[[[]]]],
  { $ne: null },
  { toString: 1 },
];

const text = fc.oneof(
  fc.constantFrom(...ODD_TEXTS),
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary' }),
);
const value = fc.oneof(
  fc.constantFrom(...ODD_VALUES),
  text,
  fc.jsonValue({ maxDepth: 2 }),
  fc.array(text, { maxLength: 4 }),
);
const KEYS = [
  'email',
  'password',
  'sessionToken',
  'url',
  'allowExtraTables',
  'allowExtraColumns',
  'dropColumns',
  'fireEventTriggers',
  'otherDatabase',
  'systemIdentifier',
  'databaseOid',
  'databaseName',
  'backupFirst',
  'keepViolations',
  'removeExtraLargeObjects',
  'restoreDrill',
  'tables',
  'intoSchemas',
  'create',
  '__proto__',
  'constructor',
];
/** Own keys only, `__proto__` too. */
const object = fc
  .array(fc.tuple(fc.oneof(fc.constantFrom(...KEYS), text), value), { maxLength: 5 })
  .map(
    (pairs) => `{${pairs.map(([key, one]) => `${JSON.stringify(key)}:${JSON.stringify(one)}`).join(',')}}`,
  );
/** Nearly right, so that it gets further than to the first check. */
const nearly = fc
  .record(
    {
      url: fc.oneof(fc.constantFrom('a.zip', 'BackupDaemonJob1-1.zip', 'http://127.0.0.1:1/a.zip'), text),
      tables: fc.array(fc.oneof(text, fc.constantFrom('a\0b', '\ud800xx', 's.t')), { maxLength: 3 }),
      intoSchemas: fc.dictionary(fc.oneof(text, fc.constantFrom('\0', '__proto__', '\udc00')), text, {
        maxKeys: 2,
      }),
      allowExtraTables: fc.boolean(),
      dropColumns: fc.array(fc.oneof(text, fc.constantFrom('a\0b.c.d', 's.t.c')), { maxLength: 3 }),
      fireEventTriggers: fc.boolean(),
    },
    { requiredKeys: ['url'] },
  )
  .map((body) => JSON.stringify(body));
const credentials = fc
  .record({ email: text, password: fc.constantFrom('x', '\0', 'x'.repeat(1_024)) })
  .map((body) => JSON.stringify(body));
/** Of the console, with the token that its own forms have. */
function form(token: string): fc.Arbitrary<string> {
  const fields = fc.constantFrom(
    'once',
    'confirmation',
    'tables',
    'restoreDrill',
    'systemIdentifier',
    'databaseOid',
    'databaseName',
    'name',
    'pattern',
    'timeZone',
    'last',
    'email',
    'password',
    'next',
    '__proto__',
  );
  return fc
    .array(fc.tuple(fields, text), { maxLength: 6 })
    .map((pairs) => new URLSearchParams([['form', formToken(token)], ['once', 'once'], ...pairs]).toString());
}
const body = fc.oneof(
  { weight: 4, arbitrary: nearly },
  { weight: 4, arbitrary: object },
  { weight: 1, arbitrary: credentials },
  fc.constantFrom('', '{', '{}', 'null', '[]', '"x"', '0', '{"a":1}x', '\ufeff{}', '{"url":"a.zip","url":1}'),
  fc.constantFrom('['.repeat(30_000), '{"a":'.repeat(12_000), `{"url":"${'x'.repeat(70_000)}"}`),
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
);
const TYPES = [
  'application/json',
  'application/json; charset=utf-16',
  'application/json;;;',
  'text/plain',
  'multipart/form-data; boundary=x',
  'application/x-www-form-urlencoded',
  '\t',
  'x'.repeat(2_000),
];
const HEADERS = [
  'Accept: x/y;q=nonsense',
  'Accept-Encoding: gzip, br;q=0, *',
  'Accept-Version: 1.x',
  'Content-Encoding: gzip',
  'Cookie: snapshotd_session=; snapshotd_session=%00; __proto__=1',
  'Authorization: Basic AAAA',
  'Authorization: Basic 6Zo=',
  'Authorization: Basic ADoA',
  'Authorization: Bearer  ',
  'Expect: 100-continue',
  'Expect: nonsense',
  'Host: a b',
  'If-None-Match: *',
  'If-Modified-Since: never',
  'Range: bytes=9-1,-,5-',
  'Range: bytes=0-0,1-1',
  'Upgrade: websocket',
  'X-Forwarded-For: , ,%00,127.0.0.1, ::1',
  'X-HTTP-Method-Override: DELETE',
  `X-Long: ${'x'.repeat(9_000)}`,
  `X-Too-Long: ${'x'.repeat(40_000)}`,
];
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'get'];
const QUERIES = [
  'page',
  'jobsPerPage',
  'activeQueue',
  'status',
  'queueName',
  '__proto__',
  'a[b]',
  'from',
  'to',
];

const CRLF2 = Buffer.from('\r\n\r\n');

/** Bytes that are no request at all, or a wrong one. */
const garbage = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.concat([bytes, CRLF2])),
  fc
    .constantFrom(
      'GET\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      'GET  /  HTTP/1.1\r\n\r\n',
      'GET / HTTP/1.1\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
      'GET / HTTP/1.1\r\nHost : a\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n',
      'GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\n\r\n',
      'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
      'CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'POST /auth/v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
      'POST /auth/v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n',
      'POST /auth/v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ',
      'POST /auth/v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}',
      'POST /auth/v1/session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
      'POST /auth/v1/session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n',
      'POST /auth/v1/session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    )
    .map((bytes) => Buffer.from(bytes, 'latin1')),
);

/** One time in ten; else null. */
function rarely<Value>(arbitrary: fc.Arbitrary<Value>): fc.Arbitrary<Value | null> {
  return fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, { weight: 1, arbitrary });
}

function requests(routes: [string, string][], token: string): fc.Arbitrary<Buffer> {
  // Most routes are the dashboard's; as many requests go to our own.
  const own = routes.filter(([, url]) => !url.startsWith('/admin/queues'));
  const route = fc.oneof(fc.constantFrom(...routes), fc.constantFrom(...own));
  const path = fc
    .tuple(
      route,
      fc.array(text, { minLength: 3, maxLength: 3 }),
      fc.option(fc.array(fc.tuple(fc.constantFrom(...QUERIES), text), { maxLength: 4 })),
      fc.boolean(),
    )
    .map(([[method, url], texts, query, aimed]) => {
      let next = 0;
      const parameter = () =>
        aimed && next === 0 && next++ === 0 ? 'daemons' : asPath(texts[next++ % 3] ?? '');
      const filled = url.replace(/:\w+|\*/g, parameter);
      const asked = query?.map(([name, one]) => `${name}=${asPath(one)}`).join('&');
      return { method, path: filled + (asked === undefined ? '' : `?${asked}`) };
    });
  const whole = fc
    .record({
      path,
      method: rarely(fc.constantFrom(...METHODS)),
      elsewhere: rarely(text),
      body: fc.option(body, { freq: 3 }),
      form: fc.option(form(token), { freq: 3 }),
      type: fc.oneof({ weight: 6, arbitrary: fc.constant('application/json') }, fc.constantFrom(...TYPES)),
      headers: fc.oneof(
        { weight: 2, arbitrary: fc.constant<string[]>([]) },
        fc.array(fc.constantFrom(...HEADERS), { maxLength: 2 }),
      ),
      chunked: rarely(fc.constant(true)),
      token: fc.oneof(
        { weight: 6, arbitrary: fc.constant(token) },
        fc.constantFrom('', 'made up', 'é'.repeat(50)),
      ),
    })
    .map(({ form: filled, ...any }) => {
      const sendsForm = filled !== null && any.path.method === 'POST' && any.path.path.startsWith('/admin/');
      const one = sendsForm ? { ...any, body: filled, type: 'application/x-www-form-urlencoded' } : any;
      const method = one.method ?? one.path.method;
      const target = one.elsewhere === null ? one.path.path : `/${asPath(one.elsewhere)}`;
      const content = Buffer.from(one.body ?? '');
      const framing =
        one.body === null
          ? []
          : one.chunked
            ? ['Transfer-Encoding: chunked']
            : [`Content-Length: ${content.length}`];
      const head = [
        `${method} ${target} HTTP/1.1`,
        ...(one.headers.some((header) => header.startsWith('Host')) ? [] : ['Host: 127.0.0.1']),
        ...(one.body === null ? [] : [`Content-Type: ${one.type}`]),
        ...(one.token === '' ? [] : [`sessionToken: ${one.token}`]),
        ...framing,
        ...one.headers,
      ];
      const sent =
        one.chunked && one.body !== null
          ? [
              ...(content.length > 0
                ? [Buffer.from(`${content.length.toString(16)}\r\n`), content, Buffer.from('\r\n')]
                : []),
              Buffer.from('0\r\n\r\n'),
            ]
          : [content];
      return Buffer.concat([Buffer.from(head.join('\r\n'), 'latin1'), CRLF2, ...sent]);
    });
  return fc.oneof({ weight: 12, arbitrary: whole }, { weight: 1, arbitrary: garbage });
}

/** Without what would end the line of a request; everything else is sent as it is. */
function asPath(any: string): string {
  return Buffer.from(any)
    .toString('latin1')
    .replace(/[\0-\x20?#]/g, '_');
}

const STACK_TRACE = /\n\s+at |node_modules|\.js:\d+|"stack":/;

/** Checks every answer. On a slow machine the API may answer 503 for its database. */
function faultOf(request: Buffer, { status, headers, body: answer }: RawAnswer): string | undefined {
  if (!(status >= 200 && (status < 500 || status === 503))) return 'a wrong status';
  // Pages have a language of their own.
  if (request.includes('/admin')) return STACK_TRACE.test(answer) ? 'a stack' : undefined;
  if (STACK_TRACE.test(headers + answer)) return 'a stack';
  if (/^x-injected/im.test(headers)) return 'a header of the client';
  // Node itself answers an Expect that it does not know, and a request without a Host, with an empty body.
  if (status >= 400 && answer !== '' && !isReason(answer)) return 'no reason';
  return undefined;
}

function isReason(answer: string): boolean {
  const json = answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1);
  try {
    return typeof (JSON.parse(json) as { reason?: unknown }).reason === 'string';
  } catch {
    return false;
  }
}

const SESSION = 'POST /auth/v1/session HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n';

describe.each(oneOf(queues, 0))('with the %s queue,', (title, queueUrl) => {
  const file = routesFile();
  let stack: Stack;
  /** One that is still on its way while the others are asked. */
  let slow: RawConnection;
  let slowAnswer: Promise<RawAnswer | undefined>;
  beforeAll(async () => {
    stack = await Stack.start({ queueUrl, workers: 0, env: file.env });
    slow = new RawConnection(Number(new URL(stack.url).port));
    slowAnswer = slow.ask(Buffer.from(`${SESSION}Content-Length: 2\r\n\r\n{`), 120_000);
    slowAnswer.catch(() => undefined); // The test awaits it later.
  });
  afterAll(async () => {
    slow.close();
    await stack.stop();
  });

  test(`${REQUESTS} requests of any kind are answered, without a 500, a stack, a hang or growing memory`, async () => {
    process.stdout.write(`FUZZ_SEED=${seed}\n`);
    // A stream of events until the end of a job is not a hang; daemon-list.spec.ts tests those. And without a
    // session the rest would not get far.
    const routes = file.routes().filter(([, url]) => !/\/(events|logout)$/.test(url));
    const made = requests(routes, stack.sessionToken);
    const stream = fc.sample(made, { numRuns: REQUESTS, seed }).values();
    /** Of each kind one. */
    const faults = new Map<string, string>();
    const statuses = new Map<string, number>();
    let done = 0;
    let warm = 0;
    const sendAll = async () => {
      const connection = new RawConnection(Number(new URL(stack.url).port));
      for (const request of stream) {
        const answer = await connection.ask(request, HANG_MS);
        const fault = answer === undefined ? undefined : faultOf(request, answer);
        const kind = answer === undefined ? 'closed' : String(answer.status);
        if (fault !== undefined && answer !== undefined)
          faults.set(
            `${fault} (${answer.status}) at ${/^[^?\r]{0,80}/.exec(request.toString('latin1'))?.[0]}`,
            `${request.toString('latin1').slice(0, 600)}\n→ ${answer.headers}\n${answer.body.slice(0, 600)}`,
          );
        statuses.set(kind, (statuses.get(kind) ?? 0) + 1);
        if (++done === REQUESTS / 10) warm = residentBytes(stack.api.pid);
      }
      connection.close();
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, sendAll));
    const grown = residentBytes(stack.api.pid) - warm;
    expect(Object.fromEntries(faults)).toEqual({});
    expect(done).toBe(REQUESTS);
    expect(grown).toBeLessThan(MAY_GROW_BYTES);
    expect(stack.logs()).not.toMatch(/nswered 500/);
    expect(await stack.call('GET', '/repo/v1/daemonStatus/1')).toMatchObject({ status: 200 });
    tried(
      `a random request (${title} queue)`,
      REQUESTS,
      `${[...statuses]
        .map(([kind, count]) => `${count} ${kind}`)
        .toSorted()
        .join(', ')}; memory grew by ${Math.round(grown / 2 ** 20)} MiB`,
    );
  });

  test('10 MB of a body are not read', async () => {
    const connection = new RawConnection(Number(new URL(stack.url).port));
    const head = Buffer.from(`${SESSION}Content-Length: ${10 * 2 ** 20}\r\n\r\n`);
    const answer = await connection.ask(head, HANG_MS);
    expect(answer).toMatchObject({ status: 413, body: '{"reason":"The body is larger than 64 KB."}' });
    connection.close();
  });

  test('a request that does not arrive is given up', async () => {
    expect(await slowAnswer).toMatchObject({
      status: 408,
      body: '{"reason":"The request took too long to arrive."}',
    });
  });
});

/** How much memory a process holds. @throws Error where the system has no /proc */
function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}
