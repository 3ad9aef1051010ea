import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedS3, freePort, type ServerProcess, startApp } from '../../dev/index.js';
import { OwnServer, ownQueues } from '../support/own-server.js';
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
        '  S3_BUCKET is missing: set the bucket for archives\n' +
        '  ADMIN_PASSWORD is missing: set both ADMIN_EMAIL and ADMIN_PASSWORD, or neither\n' +
        '  SECRET_KEY is missing: set 32 random bytes that all APIs and workers share. Create them with: openssl rand -base64 32\n',
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

/** With the two queues the two orders take turns. */
const orders = ownQueues.map(([title, startQueue], index) => ({
  title,
  startQueue,
  first: index === 0 ? 'worker' : 'API',
}));

test.each(orders)(
  'the API and a worker, the $first first, that start before the $title queue and all other servers wait, and say for what',
  async ({ startQueue, first }) => {
    const queue = await startQueue();
    const database = await OwnServer.postgres();
    for (const server of [queue, database]) await server.end('SIGINT');
    const port = await freePort();
    const s3Folder = join(servers.folder, `s3-${port}`);
    const env = {
      SECRET_KEY: Stack.secretKey,
      DATABASE_URL: database.url,
      QUEUE_URL: queue.url,
      S3_ENDPOINT: `http://127.0.0.1:${port}`,
      S3_BUCKET: 'archives',
      ...EmbeddedS3.credentials(s3Folder),
    };
    const says = (process: ServerProcess, text: string) => process.logs(text);
    const startWorker = async () => {
      const worker = await startApp({ app: 'worker', dist: 'dist', folder: servers.folder, env });
      await says(worker, 'Waiting for the queue at QUEUE_URL');
      return worker;
    };
    const earlyWorker = first === 'worker' ? await startWorker() : undefined;
    const stack = await Stack.start({ workers: 0, wait: false, env });
    await says(stack.api, 'Waiting for the database at DATABASE_URL');
    const worker = earlyWorker ?? (await startWorker());
    stack.workers.push(worker);
    if (first === 'worker') {
      await queue.startAgain();
      await says(worker, 'The worker takes jobs');
      await database.startAgain();
    } else {
      await database.startAgain();
      await says(stack.api, 'Waiting for the queue at QUEUE_URL');
      await queue.startAgain();
    }
    await stack.untilReady();
    await stack.login();
    const { id } = await stack.startBackup();
    const waiting = await stack.watch(id, ({ progresssMessage }) =>
      progresssMessage.includes('waiting for the object store'),
    );
    expect(waiting.at(-1)?.status).toBe('IN_PROGRESS');
    const s3 = await EmbeddedS3.start({ folder: s3Folder, bucket: 'archives', port });
    expect((await stack.finished(id)).status).toBe('COMPLETED');
    await stack.stop();
    for (const server of [queue, database, s3]) await server.stop();
  },
);
