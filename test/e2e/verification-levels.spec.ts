import type { Archive, DaemonStatus } from '#contracts';
import { startApp } from '../../dev/index.js';
import { Stack } from '../support/stack.js';

test('the level READ works while no worker reaches the repository', async () => {
  const stack = await Stack.start({ env: { RETRY_SECONDS: '0', S3_PREFIX: 'verification-levels/' } });
  const { backupUrl: url } = await stack.finished((await stack.startBackup()).id);
  const [worker] = stack.workers;
  await worker?.stop();
  stack.workers.push(
    await startApp({
      app: 'worker',
      name: 'lost-worker',
      dist: 'dist',
      folder: stack.folder,
      env: {
        ...stack.env,
        REPOSITORY_URL: 'postgres://nobody@127.0.0.1:1/nothing',
        REPOSITORY_SCHEMAS: 'repository',
      },
    }),
  );
  const verified = async (options: object) => {
    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', {
      url,
      ...options,
    });
    return stack.finished(body.id);
  };
  expect(await verified({ level: 'READ' })).toMatchObject({
    status: 'COMPLETED',
    progresssMessage: expect.stringMatching(/^Finished: VERIFY/) as string,
    verification: { level: 'READ', durationMs: expect.any(Number) as number },
  });
  expect(await verified({})).toMatchObject({ status: 'FAILED' });
  const { body } = await stack.call<{ backups: Archive[] }>('GET', '/repo/v1/backups');
  expect(body.backups[0]).toMatchObject({
    restorable: true,
    verifiedBy: 'READ',
    verification: { level: 'READ', reached: 'READ' },
  });
  for (const [more, reason] of [
    [{ level: 'READ', restoreDrill: true }, /^level: restoreDrill means the level DRILL/],
    [{ level: 'read' }, /^level: /],
  ] as const)
    expect(await stack.call('POST', '/repo/v1/startVerifyDaemon', { url, ...more })).toMatchObject({
      status: 400,
      body: { reason: expect.stringMatching(reason) as string },
    });
  await stack.stop();
});
