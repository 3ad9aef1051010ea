import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { debianExtensions } from '../support/database-case.js';
import { runBackup, runRecover } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import { at } from '../support/recovered.js';
import { servers, sql, storeOfTests } from '../support/servers.js';
import { pgDump } from '../support/state.js';

const store = storeOfTests();
const isInstalled =
  servers.debianPostgres !== undefined && existsSync(join(debianExtensions(), 'pg_cron.control'));

(isInstalled ? test : test.skip)(
  'pg_cron and its jobs come back when the database has its name',
  async () => {
    const server = await OwnServer.postgres({
      binaries: servers.debianPostgres?.binaries,
      settings: { shared_preload_libraries: 'pg_cron', 'cron.database_name': 'shop' },
    });
    try {
      await sql(server.url, 'CREATE DATABASE shop TEMPLATE template0');
      const url = at(server.url, 'shop');
      await sql(
        url,
        `CREATE EXTENSION pg_cron; SELECT cron.schedule('nightly', '0 3 * * *', 'SELECT 1'); CREATE ROLE planner;
       GRANT USAGE ON SCHEMA cron TO planner; COMMENT ON EXTENSION pg_cron IS 'plans'; CREATE TABLE t AS SELECT 1 AS a`,
      );
      const { key } = await runBackup(store, url, '*', { definitions: 'required' });
      const before = await pgDump(url);
      await sql(server.url, 'DROP DATABASE shop WITH (FORCE)');
      const { losses } = await runRecover(store, at(server.url, 'postgres'), key, 'shop');
      expect(losses).toEqual([]);
      expect(await pgDump(url)).toBe(before);
    } finally {
      await server.stop();
    }
  },
);
