import { randomBytes } from 'node:crypto';
import { neighbourhoodOf, networkOf } from '../../apps/api/auth/network.js';
import { Stack } from '../support/stack.js';
import { tally, tried } from '../support/tried.js';

const { email: administrator, password } = Stack.administrator;
let apis: [Stack, Stack];
beforeAll(async () => {
  const first = await Stack.start({ workers: 0, env: { TRUST_PROXY: 'true' } });
  // A second API of the same accounts.
  const env = { TRUST_PROXY: 'true', DATABASE_URL: first.env['DATABASE_URL'] ?? '' };
  apis = [first, await Stack.start({ workers: 0, env })];
});
afterAll(() => Promise.all(apis.map((api) => api.stop())));

let addresses = 0;
/** A new address in another network. */
const newAddress = () => `10.${Math.floor(addresses / 250)}.${++addresses % 250}.1`;
const newEmail = () => `${randomBytes(6).toString('hex')}@example.org`;

function login(email: string, guess: string, address: string, api = apis[0]) {
  return api.call('POST', '/auth/v1/session', { email, password: guess }, { 'X-Forwarded-For': address });
}

const statusesOf = (answers: { status: number }[]) => tally(answers.map(({ status }) => `${status}`).sort());

test('ten tries in a minute of an account from an address, on all APIs together, also at once', async () => {
  const email = newEmail();
  const address = newAddress();
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) => login(email, `guess ${i}`, address, apis[i % 2])),
  );
  expect(statusesOf(answers)).toBe('10 401, 20 429');
  for (const { status, headers, body } of answers.filter((answer) => answer.status === 429)) {
    const seconds = Number(headers.get('retry-after'));
    expect({ status, seconds: seconds >= 1 && seconds <= 60 }).toEqual({ status, seconds: true });
    expect(body.reason).toBe(
      `Too many logins with this email from this address. Try again in ${seconds} seconds.`,
    );
  }
  tried('30 logins at once with one email from one address, on two APIs', 30, statusesOf(answers));
});

test("guessing the administrator's password locks out only the guesser", async () => {
  const address = newAddress();
  for (let i = 0; i < 11; i++) await login(administrator, `guess ${i}`, address, apis[i % 2]);
  for (const api of apis) {
    // Not even the right password helps there.
    expect(await login(administrator.toUpperCase(), password, address, api)).toMatchObject({ status: 429 });
    expect(await login(administrator, password, newAddress(), api)).toMatchObject({ status: 201 });
  }
});

test('one address that guesses many accounts is stopped at a hundred, and only that address', async () => {
  const address = newAddress();
  const answers = [];
  for (let i = 0; i < 110; i += 10)
    answers.push(
      ...(await Promise.all(
        Array.from({ length: 10 }, (_, j) => login(newEmail(), 'Winter2026', address, apis[j % 2])),
      )),
    );
  expect(statusesOf(answers)).toBe('100 401, 10 429');
  expect(answers.at(-1)?.body.reason).toMatch(
    /^Too many failed logins from this address\. Try again in \d+ s/,
  );
  expect(await login(administrator, password, address)).toMatchObject({ status: 429 });
  expect(await login(administrator, password, newAddress())).toMatchObject({ status: 201 });
  tried('a login of another account from one address', answers.length, statusesOf(answers));
});

test('made-up accounts do not fill the audit, from however many addresses', async () => {
  const events = async () =>
    (await apis[0].call<{ total: number }>('GET', '/repo/v1/audit?action=login&limit=1')).body.total;
  const before = await events();
  for (let i = 0; i < 11; i++) {
    const guesses = Array.from({ length: 10 }, () => login(newEmail(), 'Winter2026', newAddress()));
    expect(statusesOf(await Promise.all(guesses))).toBe('10 401');
  }
  expect(await events()).toBeLessThanOrEqual(before + 101);
});

test('logins that are right are not counted', async () => {
  const address = newAddress();
  for (let i = 0; i < 12; i++)
    expect(await login(administrator, password, address)).toMatchObject({ status: 201 });
});

test.each([
  ['192.0.2.7', '192.0.2.7', '192.0.2'],
  ['::ffff:192.0.2.7', '192.0.2.7', '192.0.2'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2', '2001:db8:1'],
  ['2001:db8:1:2::77', '2001:db8:1:2', '2001:db8:1'],
  ['2001:db8::77', '2001:db8:0:0', '2001:db8:0'],
  ['::1', '0:0:0:0', '0:0:0'],
])('%s counts as %s, and waits among %s', (address, network, neighbourhood) => {
  expect(networkOf(address)).toBe(network);
  expect(neighbourhoodOf(address)).toBe(neighbourhood);
});

test('an unknown email takes as long as a wrong password, and has the same answer', async () => {
  const times: Record<'known' | 'unknown', number[]> = { known: [], unknown: [] };
  const texts = new Set<string>();
  const TRIES = 20;
  for (let i = 0; i < TRIES; i++)
    for (const [kind, email] of [
      ['known', administrator],
      ['unknown', newEmail()],
    ] as const) {
      const began = performance.now();
      const { status, body } = await login(email, 'wrong', newAddress());
      times[kind].push(performance.now() - began);
      texts.add(`${status} ${JSON.stringify(body)}`);
    }
  expect([...texts]).toEqual(['401 {"reason":"The email or the password is wrong."}']);
  const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[TRIES / 2] ?? 0;
  const [known, unknown] = [median(times.known), median(times.unknown)];
  // Without a hash the one would take a tenth of the other.
  expect(unknown / known).toBeGreaterThan(0.5);
  expect(unknown / known).toBeLessThan(2);
  tried(
    'an unknown email and a wrong password, by turns',
    TRIES,
    `medians ${unknown.toFixed(1)} and ${known.toFixed(1)} ms`,
  );
});

test('a flood of logins from everywhere leaves the API to others, and sends away whom it has no time for', async () => {
  const [api] = apis;
  const FLOOD = 150;
  let open = FLOOD;
  const flood = Array.from({ length: FLOOD }, () =>
    login(newEmail(), 'x', newAddress(), api).finally(() => open--),
  );
  const during: number[] = [];
  while (open > 0) {
    const { status } = await api.call('GET', '/repo/v1/daemonStatus/1');
    during.push(status);
  }
  const answers = await Promise.all(flood);
  expect(new Set(during)).toEqual(new Set([404]));
  for (const { status, headers, body } of answers)
    if (status === 429)
      expect([headers.get('retry-after'), body.reason]).toEqual([
        '1',
        'Too many logins at this moment. Try again in a second.',
      ]);
    else expect(status).toBe(401);
  expect(answers.filter((answer) => answer.status === 429).length).toBeGreaterThan(0);
  expect(await login(administrator, password, newAddress(), api)).toMatchObject({ status: 201 });
  tried(
    'a flood of logins from as many addresses at once',
    FLOOD,
    `${statusesOf(answers)}; ${during.length} statuses were asked for meanwhile, all answered`,
  );
});

test('a flood from one neighbourhood keeps nobody else from logging in, and who gets no turn loses no try', async () => {
  const [api] = apis;
  const NO_TURN = 'Too many logins at this moment. Try again in a second.';
  const answers: { status: number }[] = [];
  let over = false;
  const flood = Array.from({ length: 40 }, async (_, i) => {
    while (!over) answers.push(await login(newEmail(), 'x', `192.0.2.${i + 1}`, api));
  });
  try {
    // A neighbour of the flood's, until the line has no place for them.
    let neighbour, answer;
    do {
      neighbour = newEmail();
      answer = await login(neighbour, 'x', '192.0.2.200', api);
    } while (answer.body.reason !== NO_TURN);
    for (let i = 0; i < 3; i++)
      expect(await login(administrator, password, '198.51.100.1', api)).toMatchObject({ status: 201 });
    over = true;
    await Promise.all(flood);

    const tries = [];
    for (let i = 0; i < 11; i++) tries.push(await login(neighbour, 'x', '192.0.2.200', api));
    expect(statusesOf(tries)).toBe('10 401, 1 429');
  } finally {
    over = true;
    await Promise.all(flood);
  }
  tried(
    'a flood of logins from one neighbourhood, and the administrator from elsewhere',
    answers.length,
    `${statusesOf(answers)}; the administrator was let in each of 3 times`,
  );
});
