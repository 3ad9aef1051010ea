import { MIGRATION_ADVISORY_LOCK_KEY } from 'bullmq';
import pg from 'pg';
import { Secret } from '#config';
import { createLogger } from '#logging';
import { newDatabase } from '../support/servers.js';
import { queueConnection } from '../../libs/queue/connection.js';

test('a start that waits for the lock of the migrations names its holder, and continues when it is free', async () => {
  const url = await newDatabase();
  const holder = new pg.Client({ connectionString: url, application_name: 'mallory' });
  await holder.connect();
  await holder.query(`SELECT pg_advisory_lock($1, hashtext('snapshotd_queue'))`, [
    MIGRATION_ADVISORY_LOCK_KEY,
  ]);

  const logger = createLogger('test', 'silent');
  const warned = new Promise((resolve) => jest.spyOn(logger, 'warn').mockImplementation(resolve));
  const ready = queueConnection(new Secret(url), 'worker', logger);
  expect(await warned).toEqual({
    reason: expect.stringMatching(
      /^The migrations of the queue wait for a lock that is held by mallory \(role snapshotd, pid \d+\)\. /,
    ) as string,
  });
  await holder.end();
  await ready;
});
