import type { KeptDatabaseView, ScheduleView } from '#contracts';
import { eventually } from '../support/eventually.js';
import { newDatabase, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const EACH_SECOND = '* * * * * *';

let stack: Stack;
let production: string;
let staging: string;

beforeAll(async () => {
  // Backups with schema definitions, by the pg_dump on PATH if there is one.
  const server = servers.debianPostgres?.url;
  stack = await Stack.start({ env: { BACKUP_DEFINITIONS: 'required' } });
  production = await newDatabase(server);
  staging = await newDatabase(server);
  await sql(production, 'CREATE TABLE orders AS SELECT 1 AS id');
  await sql(staging, 'CREATE TABLE tried AS SELECT 1 AS id');
  for (const [name, url] of [
    ['shop', production],
    ['staging', staging],
  ] as const)
    await stack.ask('PUT', `/repo/v1/repositories/${name}`, { url });
});
afterAll(() => stack.stop());

const put = (body: object) =>
  stack.call<ScheduleView & { reason: string }>('PUT', '/repo/v1/schedules/refresh', {
    pattern: EACH_SECOND,
    repository: 'shop',
    ...body,
  });
/** The orders in staging. During a swap, no database has its name for a moment. */
const orders = () =>
  sql(staging, 'SELECT FROM orders').then(
    (rows) => rows.length,
    () => undefined,
  );
const kept = async () =>
  (await stack.ask<{ databases: KeptDatabaseView[] }>('GET', '/repo/v1/databases')).databases;

test('a schedule refreshes staging from production, and keeps only the newest of the replaced databases', async () => {
  const then = { recoverInto: 'staging', swap: true };
  expect(await put({ then })).toMatchObject({ status: 201, body: { then, repository: 'shop' } });
  await eventually(async () => (await kept()).length > 0);
  const [first] = await kept();
  await eventually(async () => (await orders()) === 1);
  await sql(production, 'INSERT INTO orders VALUES (2)');
  // The drop of the first kept database is a job too.
  await eventually(async () => (await orders()) === 2);
  await put({ enabled: false });
  await eventually(async () => {
    const { lastRun } = await stack.ask<ScheduleView>('GET', '/repo/v1/schedules/refresh');
    return lastRun?.status !== 'IN_PROGRESS';
  });
  const { lastRun, then: still } = await stack.ask<ScheduleView>('GET', '/repo/v1/schedules/refresh');
  expect({ lastRun, still }).toMatchObject({
    lastRun: { status: 'COMPLETED' },
    still: then,
  });
  await eventually(async () => (await kept()).length === 1);
  const [last] = await kept();
  expect(last?.name).not.toBe(first?.name);
  expect(await sql(production, `SELECT FROM pg_database WHERE datname = '${first?.name}'`)).toEqual([]);
  expect(await sql(production, `SELECT FROM pg_database WHERE datname = '${last?.name}'`)).toHaveLength(1);
  const { events } = await stack.ask<{ events: { action: string; account: string }[] }>(
    'GET',
    '/repo/v1/audit?repository=staging&account=schedule%20refresh&limit=100',
  );
  expect(new Set(events.map(({ action }) => action))).toEqual(new Set(['restore.start', 'database.drop']));
});

test.each([
  [
    { then: { recoverInto: 'shop', swap: true } },
    /^then: a schedule may replace neither the database that it backs up/,
  ],
  [{ then: { recoverInto: 'default', swap: true } }, /^then: a schedule may replace neither/],
  [{ then: { recoverInto: 'nowhere', swap: true } }, /^then: there is no repository nowhere/],
  [{ then: { recoverInto: 'staging' } }, /^then: must be one of .* or \{"recoverInto"/],
])('%j is refused', async (body, reason) => {
  const { status, body: answer } = await put(body);
  expect(status).toBe(400);
  expect(answer.reason).toMatch(reason);
});
