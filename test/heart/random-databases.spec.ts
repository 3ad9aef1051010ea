import fc from 'fast-check';
import pg from 'pg';
import { quoteTable } from '#postgres';
import { runBackup, runRestore } from '../support/heart.js';
import { createRandom, RANDOM_SCHEMAS, randomTables } from '../support/random-databases.js';
import { newDatabase, seed, storeOfTests, thorough } from '../support/servers.js';
import { stateOf } from '../support/state.js';

/** How many random databases are tried; more of them with RANDOM_DATABASES=3000. */
const RUNS = Number(process.env['RANDOM_DATABASES'] ?? (thorough ? 300 : 20));

/** The number of cases in parallel, each in a separate database, because a restore locks the repository. */
const PARALLEL = 3;

const store = storeOfTests();

test(`${RUNS} random databases come back as they were`, async () => {
  const run = async (_: unknown, number: number) => {
    const url = await newDatabase();
    const client = new pg.Client(url);
    await client.connect();
    await client.query('SET client_min_messages TO warning');
    const property = fc.asyncProperty(randomTables, async (all) => {
      await createRandom(client, all);
      const before = await stateOf(client, RANDOM_SCHEMAS);
      const { key } = await runBackup(store, url, RANDOM_SCHEMAS);
      if (all.length > 0) await client.query(`TRUNCATE ${all.map(quoteTable).join()} RESTART IDENTITY`);
      await client.query("SELECT nextval('s.shared')");
      await runRestore(store, url, RANDOM_SCHEMAS, key);
      expect(await stateOf(client, RANDOM_SCHEMAS)).toEqual(before);
    });
    const numRuns = Math.floor((RUNS + number) / PARALLEL);
    await fc.assert(property, { numRuns, seed: seed + number, endOnFailure: true });
    await client.end();
  };
  const results = await Promise.allSettled(Array.from({ length: PARALLEL }, run));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}, 600_000);
