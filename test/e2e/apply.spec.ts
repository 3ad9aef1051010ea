import { execFile as execFileOf } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Archive, DaemonStatus, RepositoryView, ScheduleView } from '#contracts';
import { CommandLine } from '../support/command-line.js';
import { newDatabase, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { describeAtTerminal, Terminal } from '../support/terminal.js';

const execFile = promisify(execFileOf);

let stack: Stack;
let user: CommandLine;
/** The URLs of two databases. */
let crm: string;
let wiki: string;

beforeAll(async () => {
  stack = await Stack.start({ env: { S3_PREFIX: `apply-${randomBytes(4).toString('hex')}/` } });
  user = new CommandLine({ SNAPSHOTD_URL: stack.url, SNAPSHOTD_TOKEN: stack.sessionToken });
  [crm, wiki] = await Promise.all([newDatabase(), newDatabase()]);
  for (const url of [crm, wiki])
    await sql(url, 'CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 10) i');
});
afterAll(() => stack.stop());

const databaseOf = (url: string) => new URL(url).pathname.slice(1);
const put = (name: string, text: string) => {
  writeFileSync(join(user.folder, name), text);
  return name;
};
const repositories = async () =>
  (await user.json<{ repositories: RepositoryView[] }>('repository', 'list')).repositories;
const schedules = async () => (await user.json<{ schedules: ScheduleView[] }>('schedule', 'list')).schedules;
/** The calls that changed something, latest first. */
const changesSoFar = async () => (await stack.ask<{ total: number }>('GET', '/repo/v1/audit?limit=1')).total;

test("the operator's guide adds a database by hand and by a file, word for word", async () => {
  const [, section = ''] = readFileSync('docs/operators-guide.md', 'utf8').split('\n## Several databases\n');
  const blocks = [
    ...section
      .split('\n## ', 1)
      .join('')
      .matchAll(/^```(\w+)\n([^]*?)^```/gm),
  ];
  const [byHand = '', file = '', byFile = ''] = blocks.map(([, , code = '']) => code);
  put('crm.secret', `${crm}\n`);
  put('snapshotd.yml', file);
  const run = (script: string) =>
    execFile('bash', ['--norc', '-euo', 'pipefail', '-c', script], {
      cwd: user.folder,
      env: user.shellEnvironment,
    });
  expect((await run(byHand)).stdout).toMatch(/^repository +crm$[^]*^crm\/BackupDaemonJob\d+-\d+\.zip +crm /m);
  expect((await run(byFile)).stdout).toMatch(
    /^~ repository crm$[^]*^\+ schedule crm-nightly$[^]*^Dry run, would be: 1 created, 1 changed\.\n[^]*\n1 created, 1 changed\.\n$/m,
  );
  expect((await run(byFile)).stdout).toBe('Nothing would change.\nNothing changed.\n');
  await user.json('schedule', 'delete', 'crm-nightly');
  await user.json('repository', 'delete', 'crm', '--yes');
});

describe('snapshotd repository', () => {
  test('takes the URL from a file, stdin or a variable, and changes only what the options name', async () => {
    const secret = put('crm.secret', `${crm}\n`);
    const args = ['repository', 'set', 'crm', '--adopt', '--database-url-file', secret, '--json'];
    const made = await user.run(args);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).not.toContain(new URL(crm).password);
    expect(JSON.parse(made.stdout)).toMatchObject({ name: 'crm', target: { database: databaseOf(crm) } });

    const piped = await user.run(['repository', 'set', 'crm', '--database-url-file', '-', '--jobs', '2'], {
      input: `${wiki}\n`,
    });
    expect(piped.stdout).toMatch(new RegExp(`^database +${databaseOf(wiki)} at `, 'm'));
    await user.json(
      'repository',
      'set',
      'crm',
      '--exclude-table',
      'public.cache_*',
      '--exclude-table',
      'a.b',
    );
    const back = await user.run(['repository', 'set', 'crm', '--database-url-env', 'CRM'], {
      env: { CRM: crm },
    });
    expect(back.code).toBe(0);
    expect(await user.json('repository', 'show', 'crm')).toMatchObject({
      target: { database: databaseOf(crm) },
      excludeTables: ['public.cache_*', 'a.b'],
      jobs: 2,
    });
    expect(
      await user.json('repository', 'set', 'crm', '--exclude-table', '', '--jobs', 'default'),
    ).toMatchObject({ excludeTables: [], jobs: null });
  });

  test('never repeats a URL that stands in the wrong place, and warns of passwords among arguments', async () => {
    const wrong = await user.run(['repository', 'set', 'new', '--url', 'postgres://u:hidden@h/d']);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/--url is the address of snapshotd/);
    expect(wrong.stderr).not.toContain('hidden');
    const missing = await user.run(['repository', 'set', 'new', '--jobs', '3']);
    expect(missing).toMatchObject({ code: 2, stdout: '' });
    expect(missing.stderr).toMatch(/needs the URL of its database: --database-url-file/);
    const seen = await user.run(['repository', 'set', 'crm', '--database-url', crm]);
    expect(seen).toMatchObject({ code: 0 });
    expect(seen.stderr).toMatch(/^Warning: others on this machine can read the password/);
  });

  test('--repository names the repository of jobs and schedules, and lists show it', async () => {
    const own = await user.json<DaemonStatus>('backup', '--wait');
    expect((await user.run(['list', '--limit', '1'])).stdout).not.toMatch(/REPOSITORY/);
    const backup = await user.json<DaemonStatus>('backup', '--repository', 'crm', '--wait');
    expect(backup).toMatchObject({ status: 'COMPLETED', repository: 'crm' });
    const { backups } = await user.json<{ backups: Archive[] }>('list', '--repository', 'crm');
    expect(backups[0]?.url).toBe(backup.backupUrl);
    const [{ name = '' } = {}] = backups;
    // Never the newest of another database.
    expect((await user.run(['latest'])).stdout).toBe(`${own.backupUrl?.split('/').at(-1)}\n`);
    expect((await user.run(['latest', '--repository', 'crm'])).stdout).toBe(`${name}\n`);
    expect((await user.run(['names', 'archives'])).stdout.split('\n')).toContain(name);
    expect((await user.run(['list'])).stdout).toMatch(
      /^NAME +REPOSITORY .*\ncrm\/\S+ +crm .*\n\S+ +default /,
    );
    const jobs = await user.json<{ daemons: DaemonStatus[] }>('list', '--daemons', '--repository', 'default');
    expect(jobs.daemons.map(({ id }) => id)).toEqual([own.id]);
    expect((await user.run(['list', '--daemons'])).stdout).toMatch(/^ID +REPOSITORY .*\n\d+ +crm +BACKUP/);

    await user.json('repository', 'set', 'wiki', '--database-url-file', put('wiki.secret', wiki));
    await sql(wiki, 'TRUNCATE orders');
    const into = ['restore', name, '--repository', 'wiki', '--other-database', '--yes', '--wait'];
    expect(await user.json<DaemonStatus>(...into)).toMatchObject({ status: 'COMPLETED', repository: 'wiki' });
    expect(await sql(wiki, 'SELECT * FROM orders')).toHaveLength(10);
    expect(await user.json('verify', name, '--level', 'FIT', '--wait')).toMatchObject({ repository: 'crm' });
    await user.json(
      'schedule',
      'set',
      'nightly',
      '--repository',
      'wiki',
      '--pattern',
      '0 2 * * *',
      '--disabled',
    );
    expect((await user.run(['schedule', 'list'])).stdout).toMatch(/^NAME +REPOSITORY .*\nnightly +wiki /);
  });

  test('is deleted after a confirmation only', async () => {
    expect((await user.run(['repository', 'delete', 'wiki'])).stderr).toMatch(/needs --yes/);
    expect((await user.run(['repository', 'delete', 'wiki', '--yes'])).stderr).toMatch(
      /The schedules nightly use it/,
    );
    await user.json('schedule', 'delete', 'nightly');
    expect((await user.run(['repository', 'delete', 'wiki', '--yes'])).code).toBe(0);
    expect((await user.run(['repository', 'show', 'wiki'])).code).toBe(5);
  });
});

const FILE = `
repositories:
  crm:
    url: {file: crm.secret}
    excludeTables: [public.cache_*]
  shop:
    url: {env: SHOP_URL}
    adopt: true
schedules:
  nightly:
    repository: shop
    pattern: '30 2 * * *'
    timeZone: Europe/Berlin
    then: nothing
    retention: {daily: 7, weekly: 0}
    enabled: false
  refresh:
    repository: shop
    pattern: '0 4 * * *'
    then: {recoverInto: crm, swap: true}
    enabled: false
`;

describe('snapshotd apply', () => {
  const apply = (args: string[], env: Record<string, string> = { SHOP_URL: wiki }) =>
    user.run(['apply', '-f', 'snapshotd.yml', ...args], { env });

  test('does what the file says, and then nothing', async () => {
    put('crm.secret', crm);
    put('snapshotd.yml', FILE);
    const before = await changesSoFar();
    const dry = await apply(['--dry-run']);
    expect(dry).toMatchObject({ code: 0, stderr: '' });
    expect(dry.stdout).toMatch(
      /^~ repository crm\n {4}excludeTables: \[\] -> \["public.cache_\*"\]\n\+ repository shop\n/,
    );
    expect(dry.stdout).toMatch(new RegExp(`    url: ${databaseOf(wiki)} at `));
    expect(dry.stdout).toMatch(/\+ schedule nightly\n {4}repository: shop\n/);
    expect(dry.stdout).toMatch(/\nDry run, would be: 3 created, 1 changed\.\n$/);
    expect((await apply(['--dry-run', '--exit-code'])).code).toBe(6);
    expect(await changesSoFar()).toBe(before);

    expect((await apply([])).stdout).toMatch(/\n3 created, 1 changed\.\n$/);
    expect((await repositories()).map(({ name }) => name)).toEqual(['default', 'crm', 'shop']);
    expect(await schedules()).toMatchObject([
      { name: 'nightly', repository: 'shop', enabled: false },
      { name: 'refresh', then: { recoverInto: 'crm', swap: true } },
    ]);
    const after = await changesSoFar();
    expect(after).toBe(before + 4);
    expect(await apply([])).toEqual({ code: 0, stdout: 'Nothing changed.\n', stderr: '' });
    expect((await apply(['--dry-run', '--exit-code'])).code).toBe(0);
    expect(await apply([], {})).toEqual({
      code: 0,
      stdout: 'Nothing changed.\n',
      stderr: 'SHOP_URL is not set: shop keeps its URL.\n',
    });
    expect(await changesSoFar()).toBe(after);
  });

  test('notices another password, although nobody is shown one', async () => {
    const other = new URL(wiki);
    other.password = 'rotated';
    const changed = await apply([], { SHOP_URL: other.href });
    expect(changed.stdout).toMatch(
      /^~ repository shop\n {4}url: .* with another password or parameter\n1 changed\.\n$/,
    );
    expect(changed.stdout).not.toContain('rotated');
    expect((await apply([], { SHOP_URL: other.href })).stdout).toBe('Nothing changed.\n');
    expect((await apply([])).stdout).toMatch(/\n1 changed\.\n$/);
  });

  test('of an export changes nothing', async () => {
    const { stdout } = await user.run(['export']);
    expect(stdout).toContain('url: { env: SHOP_URL } # ');
    expect(stdout).not.toContain(`:${new URL(wiki).password}@`);
    put('exported.yml', stdout);
    for (const env of [{}, { CRM_URL: crm, SHOP_URL: wiki }])
      expect(await user.run(['apply', '-f', 'exported.yml', '--prune'], { env })).toMatchObject({
        code: 0,
        stdout: 'Nothing changed.\n',
      });
    expect((await user.run(['apply', '-f', '-'], { input: stdout })).stdout).toBe('Nothing changed.\n');
    const json = put('exported.json', (await user.run(['export', '--json'])).stdout);
    expect((await user.run(['apply', '-f', json])).stdout).toBe('Nothing changed.\n');
  });

  test('deletes with --prune only, and nothing of a kind without a section', async () => {
    put('snapshotd.yml', 'repositories: {crm: {url: {file: crm.secret}, excludeTables: [public.cache_*]}}');
    expect((await apply([])).stdout).toBe('Nothing changed.\n');
    expect((await apply(['--prune'])).stderr).toMatch(/This deletes repository shop.*needs --yes/);
    expect((await apply(['--prune', '--yes'])).stderr).toMatch(/The schedules nightly, refresh /);
    put('snapshotd.yml', `${readFileSync(join(user.folder, 'snapshotd.yml'), 'utf8')}\nschedules: {}`);
    expect((await apply(['--prune', '--dry-run'])).stdout).toBe(
      '- schedule nightly\n- schedule refresh\n- repository shop\nDry run, would be: 3 deleted.\n',
    );
    expect((await apply(['--prune', '--yes'])).stdout).toMatch(/\n3 deleted\.\n$/);
    expect(await schedules()).toEqual([]);
    expect((await repositories()).map(({ name }) => name)).toEqual(['default', 'crm']);
  });

  test.each([
    [
      'repositories:\n  crm:\n    excludeTabels: [a.b]',
      /^snapshotd: snapshotd\.yml:3: repositories\.crm has no key excludeTabels: its keys are url, /,
    ],
    [
      'repositries: {}',
      /^snapshotd: snapshotd\.yml:1: The file has no key repositries: its keys are repositories, schedules\./,
    ],
    [
      'schedules:\n  a:\n    pattern: x\n    retention:\n      dayly: 3',
      /snapshotd\.yml:5: schedules\.a\.retention has no key dayly/,
    ],
    [
      'schedules:\n  a: {pattern: x, enabled: yes}',
      /snapshotd\.yml:2: schedules\.a\.enabled must be true or false\./,
    ],
    ['repositories:', /snapshotd\.yml:1: repositories must be a mapping\./],
    ['repositories:\n  crm: {}\n  crm: {}', /snapshotd\.yml:3: Map keys must be unique/],
    [
      'repositories:\n  crm: {url: "postgres://u:hidden@a,b/d"}',
      /snapshotd\.yml:2: repositories\.crm: url: names several hosts/,
    ],
    [
      'repositories:\n  crm: {url: [postgres://u:hidden@h/d]}',
      /snapshotd\.yml:2: repositories\.crm\.url must be a URL, \{env/,
    ],
    [
      'repositories:\n  crm: {url: "postgres://u:hidden@h/d}',
      /^snapshotd: snapshotd\.yml:\d: Missing closing "quote/,
    ],
    [
      'repositories:\n  crm: {url: {env: A, file: b}}',
      /snapshotd\.yml:2: repositories\.crm: a URL is a text, /,
    ],
    [
      'repositories:\n\n  new: {url: {env: NOT_SET}}',
      /snapshotd\.yml:3: repositories\.new: The environment variable NOT_SET is missing/,
    ],
    ['repositories:\n  new: {}', /snapshotd\.yml:2: repositories\.new: url: a new repository needs/],
    [
      'repositories:\n  default: {}',
      /snapshotd\.yml:2: repositories\.default: The settings of the workers define/,
    ],
    [
      'schedules:\n  a: {pattern: x, repository: none}',
      /snapshotd\.yml:2: schedules\.a: there is no repository none\./,
    ],
  ])('refuses %j, with the line', async (text, message) => {
    put('snapshotd.yml', text);
    const before = await changesSoFar();
    const { code, stdout, stderr } = await apply(['--prune', '--yes']);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('hidden');
    expect({ stdout, changed: (await changesSoFar()) - before }).toEqual({ stdout: '', changed: 0 });
    expect(code).toBeGreaterThan(0);
  });
});

describeAtTerminal('at a terminal', () => {
  test('set asks for the URL without showing it, and prune asks before it deletes', async () => {
    const terminal = await Terminal.open(user.folder, user.shellEnvironment);
    try {
      await terminal.begin('snapshotd repository set asked --adopt');
      await terminal.shows(/^URL of the database of asked \(not shown\):$/m);
      await terminal.type(wiki);
      const set = await terminal.ended();
      expect(set.screen).toMatch(/^name +asked$/m);
      expect(set.screen).not.toContain(wiki);

      put('snapshotd.yml', 'repositories: {crm: {url: {file: crm.secret}}}');
      await terminal.begin('snapshotd apply -f snapshotd.yml --prune');
      await terminal.shows(/^This deletes repository asked\. Archives stay\.\nType delete to confirm:/m);
      await terminal.type('no');
      expect(await terminal.ended()).toMatchObject({ code: 1 });
      await terminal.begin('snapshotd repository delete asked');
      await terminal.shows(/^Type the repository's name to confirm:/m);
      await terminal.type('asked');
      expect(await terminal.ended()).toMatchObject({ code: 0 });
    } finally {
      await terminal.close();
    }
  });
});
