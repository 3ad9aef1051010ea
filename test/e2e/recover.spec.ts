import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Keys } from '#keys';
import { Secret } from '#config';
import { findLatestArchive, type VerificationFacts, verificationKey, verificationRecord } from '#engine';
import type { RecoverReport } from '../../apps/cli/recover/recover-archive.js';
import { DownloadedArchive } from '../support/archive.js';
import { CommandLine, type RunningCommand } from '../support/command-line.js';
import { eventually } from '../support/eventually.js';
import { runBackup } from '../support/heart.js';
import {
  newDatabase,
  oneOf,
  postgresMajors,
  putBytes,
  seed,
  servers,
  sql,
  storeOfTests,
} from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { stateOf } from '../support/state.js';
import { describeAtTerminal, Terminal } from '../support/terminal.js';

const store = storeOfTests();
const never = new AbortController().signal;
const keys = new Keys([new Secret(Stack.secretKey)]);
const S3 = { S3_ENDPOINT: servers.s3.endpoint, S3_BUCKET: 'archives', ...servers.s3.credentials };
const user = new CommandLine(S3);

/** A URL of the same server. */
function at(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

const newName = (prefix = 'shop') => `${prefix}_${randomBytes(4).toString('hex')}`;

/** A lost database: it and its owner are dropped, and an archive of it is left. */
interface Lost {
  server: string;
  owner: string;
  /** While a role of this name exists, loading its rows waits. */
  sleeper: string;
  key: string;
  file: string;
  state: unknown;
}

const losses = new Map<string, Promise<Lost>>();

/** A lost database of a server. */
function lostOn(server: string): Promise<Lost> {
  const known = losses.get(server) ?? lose(server);
  losses.set(server, known);
  return known;
}

async function lose(server: string): Promise<Lost> {
  const [url, owner, sleeper] = [await newDatabase(server), newName('Owner'), newName('sleeper')];
  await sql(
    url,
    `CREATE ROLE "${owner}";
     CREATE SCHEMA shop AUTHORIZATION "${owner}"; SET ROLE "${owner}";
     CREATE FUNCTION shop.awake() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
       IF EXISTS (SELECT FROM pg_roles WHERE rolname = '${sleeper}') THEN PERFORM pg_sleep(600); END IF; RETURN true; END $$;
     CREATE TABLE shop.customer (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, CHECK (shop.awake()));
     CREATE TABLE shop.invoice (id int PRIMARY KEY, customer int REFERENCES shop.customer);
     INSERT INTO shop.customer (name) SELECT 'customer ' || i FROM generate_series(1, 1200) i;
     INSERT INTO shop.invoice SELECT i, i FROM generate_series(1, 300) i;
     RESET ROLE; SELECT lo_from_bytea(0, 'a large object')`,
  );
  const state = await stateOf(url, ['shop']);
  const key = `${newName('lost')}/BackupDaemonJob1-1.zip`;
  await runBackup(store, url, '*', { definitions: 'required', keyPrefix: key.replace(/[^/]*$/, '') }).then(
    async (backup) => putBytes(key, await bytesOf(backup.key)),
  );
  const { file } = await DownloadedArchive.of(store, key);
  await sql(at(server, 'postgres'), `DROP DATABASE ${new URL(url).pathname.slice(1)} WITH (FORCE)`);
  await sql(at(server, 'postgres'), `DROP ROLE "${owner}"`);
  return { server, owner, sleeper, key, file, state };
}

async function bytesOf(key: string): Promise<Buffer> {
  const object = await store.open(key, never);
  if (object === undefined) throw new Error(`no object ${key}`);
  return Buffer.concat(await object.read(0, object.length).toArray());
}

const databases = async (server: string, like: string) =>
  (
    await sql<{ name: string }>(server, 'SELECT datname AS name FROM pg_database WHERE datname LIKE $1', [
      like,
    ])
  ).map(({ name }) => name);
const UNFINISHED = 'snapshotd_recover_%';

describe.each(oneOf(postgresMajors, seed + 1))('recover on %s', (_title, server) => {
  let lost: Lost;
  beforeAll(async () => {
    lost = await lostOn(server);
  });

  test('refuses missing roles with the statements to run', async () => {
    const { code, stdout, stderr } = await user.run(['recover', lost.file, '--to', at(server, newName())]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr.split('\n').slice(-2)).toEqual([
      expect.stringMatching(
        `^snapshotd: The server lacks a role that the archive names: ${lost.owner}\\. .*CREATE ROLE "${lost.owner}" NOLOGIN; .*--create-roles`,
      ),
      '',
    ]);
  });

  test('rebuilds a lost database from a file, and shows what came back', async () => {
    const database = newName();
    const { code, stdout, stderr } = await user.run([
      ...['recover', lost.file, '--to', at(server, database), '--create-roles', '--jobs', '3'],
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
    expect(stderr).toMatch(
      /^Recovering from \/.*\.zip, taken on 20.* from test_\w+\.\n[^]*100% .*Finished: RECOVER\n$/,
    );
    expect(stdout.replaceAll(/ +/g, ' ')).toMatch(
      new RegExp(
        `^database ${database}\narchive ${lost.file}\ntaken 20.*\nschemas 1\ntables 2\nrows 1,500\nlarge objects 1\n` +
          `roles created ${lost.owner}\nlost nothing\n(archive omits .*\n)*took .*\n$`,
      ),
    );
    expect(await stateOf(at(server, database), ['shop'])).toEqual(lost.state);

    const again = await user.run(['recover', lost.file, '--to', at(server, database)]);
    expect(again.code).toBe(1);
    expect(again.stderr.split('\n').slice(1)).toEqual([
      expect.stringMatching(/^0% 0\/1,650 - /),
      expect.any(String),
      '',
    ]);
    expect(again.stderr).toContain(`snapshotd: The database ${database} is not empty.`);
  });

  test('rebuilds it from the bucket, with a password from ~/.pgpass, and prints JSON', async () => {
    const database = newName();
    const url = new URL(at(server, database));
    const someone = new CommandLine(S3);
    writeFileSync(join(someone.home, '.pgpass'), `127.0.0.1:${url.port}:*:*:${url.password}\n`, {
      mode: 0o600,
    });
    url.password = '';
    const report = await someone.json<RecoverReport>(
      ...['recover', `s3://archives/${lost.key}`, '--to', url.href, '--no-owner', '--locale', 'C'],
    );
    expect(report).toEqual({
      database,
      archive: `s3://archives/${lost.key}`,
      takenOn: expect.any(Number),
      schemas: 1,
      tables: 2,
      entities: 1500,
      largeObjects: 1,
      createdRoles: [],
      losses: [],
      omissions: expect.any(Array),
      totalTimeMS: expect.any(Number),
    });
    expect(
      await sql(at(server, database), 'SELECT tableowner FROM pg_tables WHERE schemaname = $1', ['shop']),
    ).toEqual(Array(2).fill({ tableowner: url.username }));
  });

  describe('while rows are loaded', () => {
    let running: RunningCommand;
    let database: string;
    beforeEach(async () => {
      await sql(server, `CREATE ROLE ${lost.sleeper}`);
      database = newName();
      running = user.start(['recover', lost.file, '--to', at(server, database), '--no-owner']);
      await eventually(async () => {
        if (running.process.exitCode !== null) throw new Error(running.stderr);
        return (await asleep()).length > 0;
      });
    });
    afterEach(async () => {
      running.process.kill('SIGKILL');
      await sql(server, `DROP ROLE IF EXISTS ${lost.sleeper}`);
    });
    const asleep = () =>
      sql(
        server,
        `SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname LIKE '${UNFINISHED}'`,
      );

    test('Ctrl-C drops the unfinished database', async () => {
      expect(await databases(server, UNFINISHED)).toHaveLength(1);
      running.process.kill('SIGINT');
      expect(await running.ended()).toMatchObject({
        code: 130,
        stdout: '',
        stderr: expect.stringMatching(/\nsnapshotd: Interrupted: the database was not created\.\n$/),
      });
      expect(await databases(server, UNFINISHED)).toEqual([]);
      expect(await databases(server, database)).toEqual([]);
    });

    test('a killed one leaves a database that --clean-up drops once nobody works on it', async () => {
      const [name = ''] = await databases(server, UNFINISHED);
      const clean = ['recover', '--clean-up', '--to', at(server, '')];
      expect(await user.run(clean)).toMatchObject({ code: 0, stdout: `${name}: in use\n` });
      running.process.kill('SIGKILL');
      await running.ended();
      await sql(server, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1`, [
        name,
      ]);
      await eventually(
        async () => (await user.json<object>(...clean)) && (await databases(server, name)).length === 0,
      );
      expect(await user.run(clean)).toMatchObject({
        code: 0,
        stdout: 'There are no unfinished databases.\n',
      });
    });
  });
});

describe('recover latest', () => {
  const [, server = ''] = postgresMajors[0] ?? [];
  const prefix = `${newName('latest')}/`;
  const choose = async ({ by }: { by: Keys | undefined } = { by: keys }) => {
    const { object, reason } = await findLatestArchive(store, prefix, by, never);
    return `${object.key.slice(prefix.length)}: ${reason}`;
  };
  const put = async (
    name: string,
    outcome?: Pick<VerificationFacts, 'restorable' | 'level'>,
    bytes = 'bytes',
  ) => {
    const key = prefix + name;
    await putBytes(key, Buffer.from(bytes, 'latin1'));
    if (outcome === undefined) return;
    const object = await store.find(key, never);
    if (object === undefined) throw new Error(`no object ${key}`);
    const facts = { ...outcome, daemonId: '1', verifiedAt: new Date().toISOString() };
    const record = JSON.stringify(verificationRecord(keys, object, facts));
    await store.put(verificationKey(key), record, 'application/json', never);
  };
  const drill = { restorable: true, level: 'DRILL' } as const;
  const read = { restorable: true, level: 'READ' } as const;
  const failed = { restorable: false, level: 'DRILL' } as const;
  afterEach(async () => {
    for await (const { key } of store.list(prefix, never)) await store.delete(key);
  });

  test('takes the newest archive of those that verified best, and names those that it passes over', async () => {
    await put('a.zip', drill);
    await put('b.zip');
    expect(await choose()).toBe(
      `a.zip: It passed a drill. A newer archive was passed over: s3://archives/${prefix}b.zip has no valid verification record.`,
    );
    await put('c.zip', read);
    await put('d.zip', failed);
    expect(await choose()).toBe(
      `a.zip: It passed a drill. 3 newer archives were passed over: s3://archives/${prefix}d.zip failed its verification.`,
    );
    await put('e.zip', drill);
    expect(await choose()).toBe('e.zip: It passed a drill.');
    for (const name of ['a.zip', 'e.zip']) await store.delete(prefix + name);
    expect(await choose()).toMatch(/^c\.zip: It was verified at the level READ\. A newer archive was passed/);
    await store.delete(`${prefix}c.zip`);
    expect(await choose()).toMatch(
      /^b\.zip: It has no valid verification record\. A newer archive was passed/,
    );
  });

  test('takes no archive of another repository', async () => {
    await put('a.zip');
    await put('crm/b.zip', drill);
    await put('shop/c.zip', drill);
    expect(await choose()).toBe(
      'a.zip: It has no valid verification record. For archives in crm/, shop/, set S3_PREFIX to that folder.',
    );
    await store.delete(`${prefix}a.zip`);
    await expect(choose()).rejects.toThrow('are archives of several repositories, in crm/, shop/.');
    for (const key of ['crm/b.zip', verificationKey('crm/b.zip')]) await store.delete(prefix + key);
    expect(await choose()).toBe('shop/c.zip: It passed a drill.');
  });

  test('trusts no record of another key or of another object, and never takes one that failed', async () => {
    await expect(choose()).rejects.toThrow(`There is no archive below s3://archives/${prefix}.`);
    await put('a.zip', drill);
    await put('b.zip', failed);
    expect(await choose({ by: new Keys([new Secret('ab'.repeat(32))]) })).toBe(
      'b.zip: It has no valid verification record.',
    );
    expect(await choose({ by: undefined })).toMatch(/^b\.zip: It is the newest one\. Without SECRET_KEY/);
    await put('a.zip', undefined, 'other');
    await put('c.zip');
    expect(await choose()).toBe('c.zip: It has no valid verification record.');
    for (const name of ['a.zip', 'c.zip']) await store.delete(prefix + name);
    await expect(choose()).rejects.toThrow('There is no archive that did not fail its verification below');
  });

  test('recovers the archive that it takes', async () => {
    const bytes = (await bytesOf((await lostOn(server)).key)).toString('latin1');
    await put('a.zip', drill, bytes);
    await put('b.zip', failed, 'damaged');
    const command = ['recover', 'latest', '--to', at(server, newName()), '--no-owner', '--json'];
    const { code, stdout, stderr } = await user.run(command, {
      env: { S3_PREFIX: prefix, SECRET_KEY: Stack.secretKey },
    });
    const said = expect.stringContaining('It passed a drill. A newer archive was passed over');
    expect({ code, stderr }).toEqual({ code: 0, stderr: said });
    expect(JSON.parse(stdout)).toMatchObject({ archive: `s3://archives/${prefix}a.zip`, entities: 1500 });
  });
});

describe('recover says in one sentence', () => {
  const [, server = ''] = postgresMajors[0] ?? [];
  let lost: Lost;
  beforeAll(async () => {
    lost = await lostOn(server);
  });
  const refusal = async (...args: string[]) => {
    const { code, stdout, stderr } = await user.run(['recover', ...args]);
    expect(stdout).toBe('');
    const sentence = stderr.trimEnd().split('\n').at(-1) ?? '';
    expect(sentence).toMatch(/^snapshotd: /);
    expect(sentence).not.toMatch(/REPOSITORY_URL|DATABASE_URL/);
    return `${code} ${sentence.slice('snapshotd: '.length)}`;
  };

  test('what is wrong with the server', async () => {
    const url = new URL(at(server, 'shop'));
    url.password = 'wrong';
    expect(await refusal(lost.file, '--to', url.href)).toMatch(
      /^1 PostgreSQL at \S+ refused the login: .* Check the user in --to, its password there, in PGPASSWORD or in ~\/\.pgpass/,
    );
    url.password = '';
    expect(await refusal(lost.file, '--to', url.href)).toMatch(/^1 PostgreSQL at \S+ asks for a password/);
    expect(await refusal(lost.file, '--to', 'postgres://someone@no-such-host.invalid/shop')).toMatch(
      /^1 PostgreSQL at no-such-host\.invalid:5432\/postgres cannot be reached \(\w+\)\. Check .* in --to\.$/,
    );
    expect(await refusal(lost.file, '--to', at(server, 'shop'), '--maintenance-db', 'nowhere')).toMatch(
      /^1 PostgreSQL at \S+nowhere says: .* --maintenance-db\.$/,
    );
  });

  test('the rights that its role lacks, with the statement that grants them', async () => {
    const url = new URL(at(server, newName()));
    const role = newName('creator');
    await sql(server, `CREATE ROLE ${role} LOGIN CREATEDB PASSWORD 'pw'`);
    [url.username, url.password] = [role, 'pw'];
    expect(await refusal(lost.file, '--to', url.href, '--create-roles')).toMatch(
      new RegExp(`^1 The role ${role} is no superuser, .* Run: GRANT .* TO "${role}"`),
    );
  });

  test('what is wrong with the archive', async () => {
    const to = ['--to', at(server, newName())];
    const file = (name: string, text: string) => {
      writeFileSync(join(user.folder, name), text);
      return name;
    };
    mkdirSync(join(user.folder, 'folder'));
    expect(await refusal(file('text.zip', 'no archive'), ...to)).toMatch(
      /^1 This is not a complete snapshotd archive: .*truncated\. /,
    );
    expect(await refusal(file('empty.zip', ''), ...to)).toMatch(/^1 empty\.zip is empty\. /);
    expect(await refusal('folder', ...to)).toMatch(/^1 folder is a directory\. /);
    expect(await refusal('nowhere.zip', ...to)).toMatch(
      /^1 Cannot read nowhere\.zip: ENOENT.* s3:\/\/bucket\/key/,
    );
    expect(await refusal('s3://archives/nowhere.zip', ...to)).toMatch(
      /^1 There is no archive nowhere\.zip in the bucket archives/,
    );
    expect(await refusal('s3://no-such-bucket/a.zip', ...to)).toMatch(/^1 .*no-such-bucket/);
  });

  test('what is wrong with the command', async () => {
    expect(await refusal(lost.file)).toMatch(/^2 required option '--to <url>'/);
    expect(await refusal(lost.file, '--to', 'mysql://localhost/shop')).toMatch(
      /^2 --to must be a URL such as postgres:/,
    );
    expect(await refusal(lost.file, '--to', at(server, ''))).toMatch(/^2 --to names no database\./);
    expect(await refusal(lost.file, '--to', at(server, 'ä'.repeat(32)))).toMatch(
      /^2 --to names a database of 64 bytes\./,
    );
    expect(await refusal(lost.file, '--to', at(server, 'a%00b'))).toMatch(/^2 .* zero byte/);
    expect(await refusal('--to', server)).toMatch(/^2 Name an archive, or use --clean-up\./);
    expect(await refusal(lost.file, '--to', server, '--clean-up')).toMatch(
      /^2 --clean-up takes no archive\./,
    );
    expect(await refusal(lost.file, '--to', server, '--jobs', '0')).toMatch(/^2 .*from 1 to 32/);
    expect(await refusal(lost.file, '--to', server, '--privileged-roles')).toMatch(
      /^2 --privileged-roles needs/,
    );
    expect(await refusal(lost.file, '--to', server, '--create-roles', '--no-owner')).toMatch(
      /^2 .*exclude each other/,
    );
  });
});

describeAtTerminal('recover at a terminal', () => {
  test('shows a bar, then a table', async () => {
    const [, server = ''] = postgresMajors[0] ?? [];
    const { file } = await lostOn(server);
    const terminal = await Terminal.open(user.folder, user.shellEnvironment);
    try {
      const command = `snapshotd recover ${file} --to ${at(server, newName())} --create-roles`;
      const { screen, code } = await terminal.ends(`${command} 2>&1`);
      expect({ code, screen }).toEqual({
        code: 0,
        screen: expect.stringMatching(
          /\n\[#{24}\] 100% [^\n]* - Finished: RECOVER *\ndatabase {7}shop_\w+\narchive {8}[^]*\nrows +1,500\n/,
        ),
      });
    } finally {
      await terminal.close();
    }
  });
});
