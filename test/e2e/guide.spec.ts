import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { OwnServer } from '../support/own-server.js';
import { openStore, putBytes, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { stateOf } from '../support/state.js';

const GUIDE = readFileSync(join(__dirname, '../../docs/operators-guide.md'), 'utf8');

/** All blocks of code of a section of the guide, in their order. */
function blocks(section: string, language: string): string[] {
  const [, text] = GUIDE.split(`\n## ${section}\n`);
  if (text === undefined) throw new Error(`the guide has no section ${section}`);
  const [own = ''] = text.split(/\n## /);
  return [...own.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map(
    ([, code = '']) => code,
  );
}

const binaries = servers.debianPostgres?.binaries;
const PATH = `${binaries}:${process.env['PATH']}`;

/** Runs a script as the guide's reader would, and gives what it prints. Nothing that it started outlives it. */
async function bash(script: string, cwd: string): Promise<string> {
  const ending = `trap 'test -z "$(jobs -p)" || kill $(jobs -p)' EXIT\n`;
  const options = { cwd, env: { PATH, NODE_NO_WARNINGS: '1' }, timeout: 120_000 };
  const { stdout } = await promisify(execFile)(
    'bash',
    ['--norc', '-euo', 'pipefail', '-c', ending + script],
    options,
  );
  return stdout;
}

function newFolder(): string {
  const folder = join(servers.folder, `guide-${randomBytes(4).toString('hex')}`);
  mkdirSync(folder);
  for (const name of ['bin', 'dist']) symlinkSync(join(process.cwd(), name), join(folder, name));
  return folder;
}

/** A database of a server, maybe as another role. */
function at(server: OwnServer, database: string, role?: string): string {
  const url = new URL(server.url);
  url.pathname = `/${database}`;
  if (role !== undefined) {
    url.username = role;
    url.password = 'change me';
  }
  return url.href;
}

const SHOP = `
  CREATE SCHEMA shop AUTHORIZATION shop_owner;
  SET ROLE shop_owner;
  CREATE TABLE shop.customer (id serial PRIMARY KEY, name text NOT NULL);
  CREATE TABLE shop."order" (id serial PRIMARY KEY, customer int NOT NULL REFERENCES shop.customer, lines jsonb);
  CREATE INDEX ON shop."order" (customer);
  INSERT INTO shop.customer (name) SELECT 'customer ' || i FROM generate_series(1, 200) i;
  INSERT INTO shop."order" (customer, lines) SELECT id, jsonb_build_array(id) FROM shop.customer, generate_series(1, 5)`;

const onDebians = binaries === undefined ? describe.skip : describe;

onDebians("the operator's guide", () => {
  const prefix = `guide-${randomBytes(4).toString('hex')}/`;
  let lost: OwnServer;
  let stack: Stack;
  let before: Awaited<ReturnType<typeof stateOf>>;

  beforeAll(async () => {
    lost = await OwnServer.postgres({ binaries });
    await sql(lost.url, 'CREATE ROLE shop_owner');
    await sql(lost.url, 'CREATE DATABASE shop OWNER shop_owner TEMPLATE template0');
    await sql(at(lost, 'shop'), SHOP);
    const [own = '', ...roles] = blocks('PostgreSQL', 'sql');
    for (const statement of own.trim().split('\n')) await sql(lost.url, statement);
    for (const block of roles) await sql(at(lost, 'shop'), block);
    before = await stateOf(at(lost, 'shop'), ['shop']);
    stack = await Stack.start({
      queueUrl: servers.redis,
      workers: 0,
      env: {
        DATABASE_URL: at(lost, 'snapshotd_accounts', 'snapshotd_api'),
        REPOSITORY_URL: at(lost, 'shop', 'snapshotd_backup'),
        REPOSITORY_SCHEMAS: 'shop',
        S3_PREFIX: prefix,
        BACKUP_DEFINITIONS: 'required',
        PATH,
      },
    });
  });

  async function run(
    type: string,
    body: object,
  ): Promise<{ status: string; errorMessage: string | null; backupUrl: string | null }> {
    const { body: started } = await stack.call<{ id: string }>('POST', `/repo/v1/start${type}Daemon`, body);
    return stack.finished(started.id);
  }

  test('has roles with exactly the documented rights', async () => {
    const reader = await stack.startWorker();
    const { backupUrl, ...backup } = await run('Backup', {});
    expect(backup).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    const url = backupUrl ?? '';
    for (const type of ['Restore', 'Verify'])
      expect(await run(type, { url })).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringContaining('The role snapshotd_backup must own "shop"."customer"'),
      });
    await expect(sql(at(lost, 'shop', 'snapshotd_backup'), 'DELETE FROM shop."order"')).rejects.toThrow(
      /permission denied/,
    );
    await reader.stop();

    // A table that is made later is in the next backup.
    await sql(
      at(lost, 'shop'),
      'SET ROLE shop_owner; CREATE TABLE shop.later (id serial); INSERT INTO shop.later DEFAULT VALUES',
    );
    before = await stateOf(at(lost, 'shop'), ['shop']);
    await stack.startWorker();
    const whole = await run('Backup', {});
    expect(whole).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    await stack.workers.at(-1)?.stop();

    stack.env['REPOSITORY_URL'] = at(lost, 'shop', 'snapshotd_restore');
    await stack.startWorker();
    await sql(at(lost, 'shop'), 'TRUNCATE shop."order"; UPDATE shop.customer SET name = id::text');
    for (const [type, options] of [
      ['Restore', {}],
      ['Backup', {}],
      ['Verify', { restoreDrill: true }],
    ] as const)
      expect(await run(type, type === 'Backup' ? {} : { url: whole.backupUrl, ...options })).toMatchObject({
        status: 'COMPLETED',
        errorMessage: null,
      });
    expect(await stateOf(at(lost, 'shop'), ['shop'])).toEqual(before);

    // Newer than the archive that was verified, and somebody put its record beside it.
    const store = openStore(servers.s3);
    const key = `${prefix}${whole.backupUrl?.split('/').at(-1)}.verified.json`;
    const record = await store.open(key, new AbortController().signal);
    const bytes = record === undefined ? Buffer.alloc(0) : await buffer(record.read(0, record.length));
    await putBytes(`${prefix}forged.zip`, Buffer.from('no archive'));
    await putBytes(`${prefix}forged.zip.verified.json`, bytes);
    store.close();
  });

  test('leads from an empty server and the bucket to the lost database, word for word', async () => {
    await stack.stop();
    await lost.stop();

    const empty = await OwnServer.postgres({ binaries });
    try {
      const server = new URL(empty.url);
      server.pathname = '';
      const settings: Record<string, string> = {
        SECRET_KEY: Stack.secretKey,
        SERVER: server.href.replace(/\/$/, ''),
        ...servers.s3.credentials,
        S3_PREFIX: prefix,
        S3_ENDPOINT: servers.s3.endpoint,
      };
      const [names = '', ...steps] = blocks('Disaster recovery, rehearsed', 'sh');
      const mine = names.replace(/(\w+)=(\S*)/g, (line, name: string) =>
        name in settings ? `${name}=${settings[name]}` : line,
      );
      const output = await bash([mine, ...steps].join('\n'), newFolder());
      expect(output).toMatch(/\ntables +3\nrows +1,201\n/);
      expect(await stateOf(at(empty, 'shop', 'shop_owner'), ['shop'])).toEqual(before);
    } finally {
      await empty.stop();
    }
  });
});

test('the policies and the rule of the guide are JSON, and name what the code asks for', () => {
  const [worker, api, lifecycle] = blocks('The bucket', 'json').map(
    (block) => JSON.parse(block) as { Statement?: { Action: string | string[] }[] },
  );
  const actions = (policy: typeof worker) => new Set(policy?.Statement?.flatMap(({ Action }) => Action));
  const storage = ['object-store.ts', 'multipart-upload.ts', 'range-read.ts'].map((file) =>
    readFileSync(join(__dirname, '../../libs/storage', file), 'utf8'),
  );
  const asked = new Set(storage.join('').match(/s3:\w+/g));
  expect(actions(worker)).toEqual(asked);
  expect([...actions(api)].filter((action) => !asked.has(action))).toEqual([]);
  expect(actions(api)).toEqual(new Set(['s3:GetObject', 's3:DeleteObject', 's3:ListBucket']));
  expect(lifecycle).toMatchObject({
    Rules: [{ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } }],
  });
});
