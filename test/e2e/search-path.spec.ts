import { EvilSchema, unharmed } from '../support/evil-schema.js';
import { newDatabase, oneOf, postgresMajors, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { StatementProxy } from '../support/statement-proxy.js';

test.each(oneOf(postgresMajors, 1))(
  "API, worker and a queue on PostgreSQL never meet the database's search_path, also behind a pooler that refuses options: %s",
  async (_, server) => {
    const url = await newDatabase(server);
    const evil = await EvilSchema.in(url);
    await evil.addTwins();
    await sql(
      url,
      `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET search_path TO ${evil.name}, pg_catalog`,
    );

    const pooler = await StatementProxy.to(url);
    pooler.refusesOptions = true;
    const stack = await Stack.start({ env: { DATABASE_URL: pooler.url } });
    try {
      const { id } = await stack.startBackup();
      const backup = await stack.finished(id);
      expect(backup).toMatchObject({ status: 'COMPLETED' });
      const { body } = await stack.call<{ id: string }>('POST', '/repo/v1/startRestoreDaemon', {
        url: backup.backupUrl,
      });
      expect(await stack.finished(body.id)).toMatchObject({ status: 'COMPLETED' });
      expect((await stack.call('GET', '/repo/v1/audit')).status).toBe(200);
    } finally {
      await stack.stop();
      await pooler.close();
    }
    expect(evil.calls()).toEqual([]);
    const bullmq = await sql(
      unharmed(url),
      `SELECT DISTINCT proconfig FROM pg_proc WHERE pronamespace = 'snapshotd_queue'::regnamespace AND proconfig IS NOT NULL`,
    );
    expect(bullmq).toEqual([{ proconfig: ['search_path=snapshotd_queue'] }]);
  },
);
