import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedPostgres, freePort } from '#embedded';
import { servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const run = promisify(execFile);

test.each(['api', 'worker'])(
  'the %s does not start with wrong settings, and names every fault at once',
  async (app) => {
    const env = {
      PATH: process.env['PATH'],
      PORT: '99999',
      QUEUE_URL: 'amqp://user:queue-secret@somewhere',
      DATABASE_URL: 'postgres://user:database-secret@host/db',
      REPOSITORY_SCHEMAS: 'repository,snapshotd',
      ADMIN_EMAIL: 'admin@example.org',
    };
    const { code, stderr } = await run(process.execPath, [join('dist', 'apps', app, 'main.js')], {
      env,
    }).then(
      () => ({ code: 0, stderr: '' }),
      (error: { code: number; stderr: string }) => error,
    );
    expect(code).toBe(1);
    expect(stderr).toBe(
      'The settings are wrong:\n' +
        '  PORT must be a whole number from 0 to 65535\n' +
        '  REPOSITORY_SCHEMAS names snapshotd, where snapshotd keeps its own state; it cannot be part of a repository\n' +
        '  QUEUE_URL must be a URL such as redis://host:6379 or postgres://user:password@host:5432/database\n' +
        '  S3_BUCKET is missing: the bucket that archives go to\n' +
        '  ADMIN_PASSWORD is missing: ADMIN_EMAIL and ADMIN_PASSWORD go together\n',
    );
  },
);

test('three APIs that start at once on an empty database make one administrator and one set of tables', async () => {
  const first = await Stack.start({ workers: 0, wait: false });
  const others = await Promise.all([1, 2].map(() => Stack.start({ workers: 0, env: first.env })));
  for (const stack of others) await stack.stop();
  await first.stop();
  const database = first.env['DATABASE_URL'] ?? '';
  expect(await sql(database, 'SELECT email, administrator FROM snapshotd.account')).toEqual([
    { email: Stack.administrator.email, administrator: true },
  ]);
});

test('the API and a worker that start before their servers wait, and say for what', async () => {
  const port = await freePort();
  const database = `postgres://snapshotd:x@127.0.0.1:${port}/snapshotd`;
  const early = await Stack.start({ wait: false, env: { DATABASE_URL: database } });
  const says = async (process: (typeof early)['api'], text: string) => {
    while (!process.logTail(50).includes(text)) await new Promise((resolve) => setTimeout(resolve, 50));
  };
  await says(early.api, 'Waiting for the database at DATABASE_URL');
  const [worker] = early.workers;
  if (worker !== undefined) await says(worker, 'Waiting for the queue at QUEUE_URL');
  const folder = join(servers.folder, 'late');
  const late = await EmbeddedPostgres.start({
    folder,
    durable: false,
    port,
    settings: { hba_file: await trustAll(folder) },
  });
  await early.api.ready(async () => {
    if ((await fetch(`${early.url}/health/ready`)).status !== 200) throw new Error('not yet');
  });
  await early.login();
  const { id } = await early.startBackup();
  expect((await early.finished(id)).status).toBe('COMPLETED');
  await early.stop();
  await late.stop();
});

/** Passwords are generated at the start of a server, and these processes started before. */
async function trustAll(folder: string): Promise<string> {
  const { mkdir, writeFile } = await import('node:fs/promises');
  await mkdir(folder, { recursive: true });
  const file = join(servers.folder, 'trust.conf');
  await writeFile(file, 'host all all 127.0.0.1/32 trust\n', { mode: 0o644 });
  return file;
}
