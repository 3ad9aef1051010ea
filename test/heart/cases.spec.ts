import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '#common';
import {
  addExtension,
  build,
  buildFromDump,
  type DatabaseCase,
  databaseCases,
  debianExtensions,
} from '../support/database-case.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import {
  newDatabase,
  postgresMajors,
  sample,
  servers,
  sql,
  storeOfTests,
  thorough,
} from '../support/servers.js';
import { pgDump, stateOf } from '../support/state.js';

/** The cases that fail, and why. If a case succeeds, its test fails until it is removed here. */
const NOT_YET: Record<string, string> = {
  'fk-trigger-off on an empty database': "pg_dump does not keep the states of a foreign key's own triggers",
};

/** Cases that `npm test` runs. */
const SAMPLE = 10;
/** Cases that take long or whose extension the other server lacks. */
const ON_DEBIAN_ONLY = ['ext-partman', 'locks'];
/** Extensions that may not be installed. */
const NEEDS: Record<string, string> = { 'ext-partman': 'pg_partman--4.7.2.sql' };

/** Longer than any job takes, so that a hanging one fails. */
const TIMEOUT_MS = 20_000;

const store = storeOfTests();

const onDebian = servers.debianPostgres ? describe : describe.skip;

onDebian.each(thorough ? postgresMajors : postgresMajors.slice(-1))('on %s', (_title, server) => {
  const isDebian = server === servers.debianPostgres?.url;
  const cases = databaseCases().filter(({ name }) => isDebian || !ON_DEBIAN_ONLY.includes(name));
  // Only Debian's server has a pg_dump of the same version.
  const places = cases.flatMap((one) => [
    { one, where: 'in place' as const },
    ...(isDebian && one.onEmpty ? [{ one, where: 'on an empty database' as const }] : []),
  ]);

  beforeAll(() => addExtension(server));

  for (const { one, where } of sample(places, SAMPLE)) {
    const title = `${one.name} ${where}`;
    const isLacking = one.name in NEEDS && !existsSync(join(debianExtensions(), NEEDS[one.name] ?? ''));
    (isLacking ? test.skip : title in NOT_YET ? test.failing : test)(title, async () => {
      const own =
        one.settings &&
        (await OwnServer.postgres({ binaries: servers.debianPostgres?.binaries, settings: one.settings }));
      try {
        await tryCase(one, own?.url ?? server, where, isDebian);
      } finally {
        await own?.stop();
      }
    });
  }
});

async function tryCase(
  one: DatabaseCase,
  server: string,
  where: 'in place' | 'on an empty database',
  withDump: boolean,
): Promise<void> {
  const { live, before, key, omissions, warnings } = await backedUp(one, server, withDump);
  let target = live;
  if (where === 'in place') await spoil(one, live);
  else {
    target = at(one, await newDatabase(server), live.schemas);
    await buildFromDump(live.admin, target.admin);
  }
  const outcomes = await tryAll(target, key);
  judge(one, where, { ...outcomes, omissions, warnings, before, after: await target.state(withDump) });
}

interface BackedUp {
  live: Live;
  before: State;
  key: string;
  omissions: string[];
  warnings: string[];
}

/** The archives and the databases of the cases, by server: further tests of a case use them again. */
const made = new Map<string, Promise<BackedUp>>();

function backedUp(one: DatabaseCase, server: string, withDump: boolean): Promise<BackedUp> {
  const id = `${server} ${one.name}`;
  const there = made.get(id) ?? makeAndBackUp(one, server, withDump);
  made.set(id, there);
  return there;
}

async function makeAndBackUp(one: DatabaseCase, server: string, withDump: boolean): Promise<BackedUp> {
  const live = await make(one, server);
  const before = await live.state(withDump);
  const { key, omissions, warnings } = await runBackup(store, live.url, live.schemas);
  return { live, before, key, omissions, warnings };
}

/** A database of a case. */
interface Live {
  /** As a superuser. */
  admin: string;
  /** As the worker. */
  url: string;
  schemas: string[];
  state: (withDump: boolean) => Promise<State>;
}

interface State {
  contents: Record<string, string[]>;
  catalog: Record<string, unknown>;
  dump: string;
}

async function make(one: DatabaseCase, server: string): Promise<Live> {
  const admin = await newDatabase(server);
  await build(one, admin);
  if (one.role !== undefined) await sql(admin, `ALTER ROLE ${one.role} PASSWORD 'pw'`);
  return at(one, admin, one.schemas ?? (await schemasOf(admin)));
}

function at({ role }: DatabaseCase, admin: string, schemas: string[]): Live {
  const worker = new URL(admin);
  if (role !== undefined) [worker.username, worker.password] = [role, 'pw'];
  const state = async (withDump: boolean) => {
    const { contents, ...catalog } = await stateOf(admin, await schemasOf(admin));
    return {
      contents: contents as State['contents'],
      catalog,
      dump: withDump ? await pgDump(admin, []) : '',
    };
  };
  return { admin, url: worker.href, schemas, state };
}

async function schemasOf(url: string): Promise<string[]> {
  const rows = await sql<{ name: string }>(
    url,
    `SELECT DISTINCT nspname AS name FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
      WHERE relkind IN ('r', 'p', 'm') AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1`,
  );
  return rows.map(({ name }) => name);
}

async function spoil({ spoilsAll, spoil: more }: DatabaseCase, { admin, schemas }: Live): Promise<void> {
  if (spoilsAll)
    await sql(
      admin,
      `DO $$ DECLARE one record; BEGIN
         FOR one IN SELECT c.oid::regclass AS name, relkind FROM pg_class c
                     WHERE relnamespace::regnamespace::text = ANY ('{${schemas.join()}}') AND relkind IN ('r', 'S')
                       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') LOOP
           IF one.relkind = 'S' THEN PERFORM setval(one.name, 77);
           ELSE EXECUTE format('TRUNCATE ONLY %s CASCADE', one.name); END IF;
           COMMIT;
         END LOOP;
       END $$`,
    );
  for (const statement of more.split(';')) await sql(admin, statement);
}

/** The error of each job; undefined if it completed. */
interface Outcomes {
  verify: Failure | undefined;
  restore: Failure | undefined;
  /** The restore's warnings. */
  named: string[];
}

async function tryAll({ url, schemas }: Live, key: string): Promise<Outcomes> {
  const named: string[] = [];
  const failureOf = (job: (options: { signal: AbortSignal }) => Promise<object>) =>
    job({ signal: AbortSignal.timeout(TIMEOUT_MS) }).then(
      (result) => void named.push(...('omissions' in result ? (result.omissions as string[]) : [])),
      (error: unknown) => {
        if (error instanceof Failure) return error;
        throw error;
      },
    );
  return {
    verify: await failureOf((options) => runVerify(store, url, schemas, key, options)),
    restore: await failureOf((options) => runRestore(store, url, schemas, key, options)),
    named,
  };
}

/** Errors that only loading rows can find, so no verification of the level FIT. */
const TOLD_BY_ROWS = ['FOREIGN_KEY_DANGLING'];

interface Facts extends Outcomes {
  omissions: string[];
  warnings: string[];
  before: State;
  after: State;
}

function judge({ want, told }: DatabaseCase, where: string, facts: Facts): void {
  const { verify, restore, named, omissions, warnings, before, after } = facts;
  if (want === 'told' && omissions.some((what) => told.test(what))) return;
  if (want === 'refused') {
    if (verify === undefined || restore === undefined) expect(after.contents).toEqual(before.contents);
    return;
  }
  if (want !== 'honest') expect({ verify, restore, named }).toEqual({ named: [] });
  else {
    // The backup may have told what a verification cannot see without loading rows.
    const wasTold =
      verify === undefined && warnings.some((warning) => warning.startsWith('A restore may fail'));
    if (restore && !TOLD_BY_ROWS.includes(restore.code) && !wasTold)
      expect(verify?.message).toContain(restore.message);
    if (!restore) expect(verify).toBeUndefined();
    if (restore) return;
  }
  // A dump leaves out what is not valid, and what a restore names is not as it was.
  const rowsOnly = want === 'honest' && (named.length > 0 || where !== 'in place');
  if (!rowsOnly) expect(after).toEqual(before);
  else expect(unnamed(after.contents, named)).toEqual(unnamed(before.contents, named));
}

function unnamed(contents: State['contents'], named: string[]): State['contents'] {
  return Object.fromEntries(
    Object.entries(contents).filter(
      ([name]) => !named.some((what) => what.includes(name.replaceAll('"', ''))),
    ),
  );
}
