import { backedUp, dumps } from './backups.js';
import type { Competitor } from './competitors.js';
import { withClient } from './connect.js';
import type { Deployment } from './deployment.js';
import { say } from './progress.js';
import { settle } from './repository.js';
import type { Rig } from './rig.js';

export const TABLES_SCHEMA = 'tables';
export const TABLES_DUMP = '2,000 tables: pg_dump -Fc, uploaded';
export const TABLES_BACKUP = '2,000 tables: snapshotd backup';

const TABLES = 2_000;
const ROWS = 10;
/** Of tables that one transaction makes: each takes locks, of which there are only so many. */
const BATCH = 500;

/** The ways to back up many tables with next to nothing in them. */
export function manyTables(rig: Rig, deployment: Deployment, databaseUrl: string): Competitor[] {
  return [
    ...dumps(rig, databaseUrl, TABLES_SCHEMA, { [TABLES_DUMP]: [] }),
    { name: TABLES_BACKUP, run: () => backedUp(rig, deployment, TABLES * ROWS) },
  ];
}

export async function makeManyTables(databaseUrl: string): Promise<void> {
  say(`Making ${TABLES} tables of ${ROWS} rows`);
  await withClient(databaseUrl, async (client) => {
    await client.query(`CREATE SCHEMA ${TABLES_SCHEMA}`);
    for (let first = 1; first <= TABLES; first += BATCH)
      await client.query(
        `DO $$ BEGIN FOR i IN ${first}..${first + BATCH - 1} LOOP
           EXECUTE format('CREATE TABLE ${TABLES_SCHEMA}.table_%s
             (id bigint PRIMARY KEY, name text NOT NULL, quality float8, created_on timestamptz NOT NULL)', i);
           EXECUTE format('INSERT INTO ${TABLES_SCHEMA}.table_%s
             SELECT row, ''row '' || row, row / 7.0, timestamptz ''2020-01-01Z'' + row * interval ''1 day''
             FROM generate_series(1, ${ROWS}) row', i);
         END LOOP; END $$`,
      );
    await settle(client);
  });
}
