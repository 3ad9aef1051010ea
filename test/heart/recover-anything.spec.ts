import { existsSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import pg from 'pg';
import { ANY_DATABASES } from '../support/any-databases.js';
import {
  addExtension,
  build,
  type DatabaseCase,
  databaseCases,
  debianExtensions,
} from '../support/database-case.js';
import { createHard, HARD_DATABASES } from '../support/hard-databases.js';
import { createRandom, randomTables } from '../support/random-databases.js';
import { recoverBeside, type Recovered } from '../support/recovered.js';
import {
  newDatabase,
  postgresMajors,
  sample,
  seed,
  servers,
  sql,
  storeOfTests,
  thorough,
} from '../support/servers.js';

const store = storeOfTests();

/** Sizes of the samples: each dump takes half a second on a server that has no pg_dump of its version here. */
const SAMPLES = {
  native: { cases: 3, databases: 3, hard: 3, random: thorough ? 240 : 16 },
  bundled: { cases: 1, databases: 1, hard: 1, random: thorough ? 60 : 4 },
};

/** All of them take ten minutes on a busy machine. */
const RANDOM_TIMEOUT_MS = 1_800_000;

interface Inexact {
  /** The losses that a recover names. */
  losses?: RegExp | undefined;
  /** The parts of the database that differ. */
  parts: string[];
}

/** A recover cannot keep these, and says so. */
const NAMED: Record<string, Inexact> = {
  'fk-violated': { losses: /^fk constraint app.c c_p_fkey \(NOT VALID/, parts: ['constraints', 'dump'] },
  'matview-fails': {
    losses: /^rows of the materialized view app.m \(/,
    parts: ['contents', 'tables', 'dump'],
  },
  'keys-exact': { losses: /^trigger app.c1 RI_/, parts: ['constraints', 'keys', 'dump'] },
};

/** pg_dump does not keep these. docs/limits.md says so. */
const NOT_DUMPED: Record<string, Inexact> = {
  'fk-trigger-off': { parts: ['keys'] },
  'invalid-index': { parts: ['indexes', 'columns', 'tables'] },
  'checks-read-tables': { parts: ['constraints'] },
};

/** A value that has no unambiguous text. The recover refuses it and names its table. */
const REFUSED: Record<string, RegExp> = { 'regproc-overloaded': /app\.t\b/ };

const debianMajor = Number(/\d+/.exec(servers.debianPostgres?.binaries ?? ''));

/** Cases that need what only Debian's server has, or a server of their own. */
const isHere = ({ name, settings }: DatabaseCase, isDebian: boolean) =>
  settings === undefined &&
  (name !== 'ext-partman' || (isDebian && existsSync(join(debianExtensions(), 'pg_partman--4.7.2.sql'))));

(servers.debianPostgres ? describe : describe.skip).each(postgresMajors)('on %s', (_title, server) => {
  const isDebian = server === servers.debianPostgres?.url;
  const samples = SAMPLES[isDebian ? 'native' : 'bundled'];
  const cases = databaseCases().filter((one) => isHere(one, isDebian));

  beforeAll(() => addExtension(server));

  test.each(sample(cases, samples.cases).map((one) => [one.name, one] as const))(
    'case %s',
    async (name, one) => {
      const url = await newDatabase(server);
      await build(one, url);
      const refused = REFUSED[name];
      if (refused !== undefined)
        await expect(recoverBeside(store, url)).rejects.toMatchObject({
          persistence: 'permanent',
          message: expect.stringMatching(refused) as string,
        });
      else judge(await recoverBeside(store, url), NAMED[name] ?? NOT_DUMPED[name]);
    },
  );

  test.each(sample(ANY_DATABASES, samples.databases).map((one) => [one.title, one] as const))(
    '%s',
    async (_name, { sql: made }) => {
      const url = await newDatabase(server);
      await sql(url, `SET client_min_messages TO warning; CREATE SCHEMA s; ${made}`);
      judge(await recoverBeside(store, url));
    },
  );

  const major = isDebian ? debianMajor : Infinity;
  const hard = HARD_DATABASES.filter(({ from = 0 }) => from <= major);
  test.each(sample(hard, samples.hard).map((one) => [one.title, one] as const))('%s', async (_name, one) => {
    const { losses, parts = [] } = one;
    judge(await recoverBeside(store, await createHard(one, server)), { losses, parts });
  });

  if (isDebian)
    test.each(sample(hard, 1).map((one) => [one.title, one] as const))(
      '%s, from an archive that lists no statements',
      async (_name, one) => {
        const { losses, parts = [] } = one;
        judge(await recoverBeside(store, await createHard(one, server), { older: true }), { losses, parts });
      },
    );

  test(
    `${samples.random} random databases`,
    async () => {
      const shift = isDebian ? 1 : 2;
      for (const tables of fc.sample(randomTables, { numRuns: samples.random, seed: seed + shift })) {
        const url = await newDatabase(server);
        const client = new pg.Client(url);
        await client.connect();
        await client.query('SET client_min_messages TO warning');
        await createRandom(client, tables);
        await client.end();
        judge(await recoverBeside(store, url));
      }
    },
    RANDOM_TIMEOUT_MS,
  );
});

/** Expects equal databases, but for what is named. */
function judge(
  { before, after, losses }: Recovered,
  { losses: named, parts }: Inexact = { parts: [] },
): void {
  expect(losses.filter((loss) => named?.test(loss) !== true)).toEqual([]);
  if (named !== undefined) expect(losses).not.toEqual([]);
  const exact = ({ contents, catalog, largeObjects, dump }: Recovered['before']) =>
    Object.fromEntries(
      Object.entries({ contents, ...catalog, largeObjects, dump }).filter(([part]) => !parts.includes(part)),
    );
  expect(exact(after)).toEqual(exact(before));
}
