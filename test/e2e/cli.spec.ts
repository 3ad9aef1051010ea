import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type RequestListener, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json, text as readText } from 'node:stream/consumers';
import { PRODUCT } from '#common';
import { type Archive, type DaemonStatus, type ScheduleView, type WorkerView } from '#contracts';
import { freePort } from '../../dev/index.js';
import { CommandLine } from '../support/command-line.js';
import { eventually } from '../support/eventually.js';
import { Proxy } from '../support/proxy.js';
import { servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { describeAtTerminal, Terminal } from '../support/terminal.js';

/** Enough rows to interrupt a backup or a restore midway. */
const ROWS = 150_000;
const { email, password } = Stack.administrator;

let stack: Stack;
/** The network of the object store, to stall backups and restores midway. */
let network: Proxy;
let user: CommandLine;
let archive: string;

beforeAll(async () => {
  network = await Proxy.to(servers.s3.endpoint);
  stack = await Stack.start({
    queueUrl: servers.redis,
    env: {
      S3_ENDPOINT: network.url,
      S3_PREFIX: `cli-${randomBytes(4).toString('hex')}/`,
      // Statuses and lists name archives without definitions as incomplete.
      BACKUP_DEFINITIONS: 'auto',
    },
  });
  await sql(
    stack.env['DATABASE_URL'] ?? '',
    `CREATE TABLE repository.long AS
       SELECT i, sha512(i::text::bytea) AS a, sha512((-i)::text::bytea) AS b FROM generate_series(1, ${ROWS}) i`,
  );
  user = new CommandLine();
  await login(user);
  archive = nameOf(await user.json<DaemonStatus>('backup', '--wait'));
});
afterAll(async () => {
  await stack.stop();
  await network.close();
});

/** Logs in with --url, so that this server is the default of later commands. */
async function login(who: CommandLine): Promise<void> {
  const { code } = await who.run(['login', '--url', stack.url, '--email', email, '--password-stdin'], {
    input: `${password}\n`,
  });
  expect(code).toBe(0);
}

function nameOf({ backupUrl }: DaemonStatus): string {
  return backupUrl?.split('/').at(-1) ?? '';
}

const sessionFile = (who: CommandLine) => join(who.home, '.config', 'snapshotd', 'sessions.json');
const tokenOf = (who: CommandLine) =>
  (JSON.parse(readFileSync(sessionFile(who), 'utf8')) as { sessions: Record<string, { token: string }> })
    .sessions[stack.url]?.token ?? '';
const countRows = async () =>
  (
    await sql<{ rows: number }>(
      stack.env['DATABASE_URL'] ?? '',
      'SELECT count(*)::int AS rows FROM repository.long',
    )
  )[0]?.rows;
const daemons = async () => (await stack.call<{ total: number }>('GET', '/repo/v1/daemons')).body.total;

/** Waits until a backup or restore has made progress, and stalls it. */
async function stalled(id: string): Promise<void> {
  await stack.watch(id, ({ progresssCurrent }) => progresssCurrent > 0);
  network.stall();
}

/** Starts a server for one test. */
async function serve(listener: RequestListener): Promise<{ url: string; server: Server }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
}

describe('a session', () => {
  test('is kept in a file that only its owner can read, and is never printed', async () => {
    const someone = new CommandLine();
    const logged = await someone.run(['login', '--url', stack.url, '--email', email, '--password-stdin'], {
      input: password,
    });
    expect(logged).toEqual({ code: 0, stdout: `Logged in at ${stack.url} as ${email}.\n`, stderr: '' });
    expect(statSync(sessionFile(someone)).mode & 0o777).toBe(0o600);
    expect(statSync(join(someone.home, '.config', 'snapshotd')).mode & 0o777).toBe(0o700);
    expect(await someone.json('status')).toEqual({ url: stack.url, email, daemons: [] });

    const token = tokenOf(someone);
    expect(await someone.run(['logout'])).toEqual({
      code: 0,
      stdout: `Logged out at ${stack.url}.\n`,
      stderr: '',
    });
    expect(readFileSync(sessionFile(someone), 'utf8')).not.toContain(token);
    expect((await stack.call('GET', '/repo/v1/daemons', undefined, { sessionToken: token })).status).toBe(
      401,
    );
  });

  test('that others can read is refused, with a hint', async () => {
    const careless = new CommandLine();
    await login(careless);
    chmodSync(sessionFile(careless), 0o640);
    expect(await careless.run(['status'])).toEqual({
      code: 3,
      stdout: '',
      stderr: `snapshotd: Other users can read ${sessionFile(careless)}. Run chmod 600 '${sessionFile(careless)}', and log in again if somebody may have read it.\n`,
    });
  });

  test('needs a home folder; a token from the environment does not', async () => {
    const env = { HOME: '', SNAPSHOTD_URL: stack.url };
    expect(
      await user.run(['login', '--email', email, '--password-stdin'], { env, input: password }),
    ).toMatchObject({
      code: 3,
      stderr:
        'snapshotd: There is no home folder to keep a session in. Set HOME or XDG_CONFIG_HOME, or set SNAPSHOTD_TOKEN to a token.\n',
    });
    const answer = await user.run(['status'], { env: { ...env, SNAPSHOTD_TOKEN: stack.sessionToken } });
    expect(answer).toMatchObject({
      code: 0,
      stdout: `${stack.url}, with SNAPSHOTD_TOKEN\nNo jobs wait or run.\n`,
    });
  });

  test('never goes to another server, even if the server redirects there', async () => {
    const elsewhere: unknown[] = [];
    const thief = await serve(({ headers }, answer) => {
      elsewhere.push(headers['sessiontoken'] ?? headers.authorization ?? 'nothing');
      answer.setHeader('Content-Length', 5).end('bytes');
    });
    const api = await serve(({ url = '' }, answer) =>
      answer.writeHead(302, { Location: `${thief.url}${url}` }).end(),
    );
    const env = { SNAPSHOTD_URL: api.url, SNAPSHOTD_TOKEN: stack.sessionToken };
    for (const args of [['status'], ['backup'], ['schedule', 'show', 'nightly']])
      expect(await user.run(args, { env })).toMatchObject({
        code: 4,
        stderr: expect.stringContaining('redirects to another address: it is not snapshotd.'),
      });
    expect(elsewhere).toEqual([]);
    // A download follows the redirect, without the token.
    expect(await user.run(['download', 'a.zip', '-o', '-'], { env })).toMatchObject({
      code: 0,
      stdout: 'bytes',
    });
    expect(elsewhere).toEqual(['nothing']);
    await closed(api.server);
    await closed(thief.server);
  });
});

describe('in a pipe', () => {
  test('backup prints an id for status, and both print JSON with --json', async () => {
    const { code, stdout, stderr } = await user.run(['backup']);
    const id = stdout.trim();
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `${id}\n`,
      stderr: `BACKUP ${id} started. To follow it: snapshotd status ${id} --wait\n`,
    });
    const followed = await user.run(['status', id, '--wait', '--json']);
    expect(JSON.parse(followed.stdout)).toEqual(await stack.status(id));
    expect(followed).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^100% .* - Finished: BACKUP/m),
    });
    expect((await user.run(['status', id])).stdout).toMatch(
      /^status +COMPLETED\nprogress +165,000 of 165,000, /m,
    );
  });

  test('list, verify and restore find the archive by its name', async () => {
    expect(await user.json('verify', archive, '--wait')).toMatchObject({ status: 'COMPLETED' });
    const { backups } = await user.json<{ backups: Archive[] }>('list', '--limit', '100');
    expect(backups.find(({ name }) => name === archive)).toMatchObject({
      entities: ROWS,
      verifiedBy: 'READ',
    });
    const table = (await user.run(['list', '--limit', '1', '--offset', '1'])).stdout;
    expect(table).toMatch(/^NAME +TAKEN +SIZE +ENTITIES +VERIFIED\nBackup\S+\.zip +20.* MB +150,000 /);
    expect(table).toMatch(/ {2}20[\d-]+ [\d:]+ [+-]\d\d:\d\d, FIT, \d+ m?s$/m);
    expect((await user.run(['list', '--daemons'])).stdout).toMatch(/^\d+ +VERIFY +COMPLETED /m);

    await sql(stack.env['DATABASE_URL'] ?? '', 'TRUNCATE repository.long');
    expect(await user.run(['restore', archive])).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'snapshotd: A restore replaces the rows of the live tables. Without a terminal to confirm at, it needs --yes.\n',
    });
    expect(await user.json('restore', archive, '--yes', '--wait')).toMatchObject({ status: 'COMPLETED' });
    expect(await countRows()).toBe(ROWS);
  });

  test('restore and verify pass every option on to the server', async () => {
    const bodies: unknown[] = [];
    const api = await serve((incoming, answer) => {
      void json(incoming).then((body) => {
        bodies.push(body);
        answer.writeHead(201).end(JSON.stringify({ id: '7', type: 'RESTORE' }));
      });
    });
    const env = { SNAPSHOTD_URL: api.url, SNAPSHOTD_TOKEN: 'a' };
    const tables = ['--table', 'repository.node', '--table', 'repository.revision'];
    for (const args of [
      [
        'restore',
        'a.zip',
        '--yes',
        '--backup-first',
        '--allow-extra-tables',
        '--allow-extra-columns',
        '--drop-column',
        'repository.node.a',
        '--drop-column',
        'repository.node.b',
        '--fire-event-triggers',
        '--keep-violations',
        '--remove-extra-large-objects',
        '--other-database',
        ...tables,
      ],
      // It replaces nothing, so it does not ask.
      ['restore', 'a.zip', '--into', 'repository=aside', '--into', 'shop=shop_aside', '--create'],
      [
        'verify',
        'a.zip',
        '--level',
        'DRILL',
        '--allow-extra-tables',
        '--allow-extra-columns',
        '--drop-column',
        'repository.node.a',
        '--fire-event-triggers',
        '--other-database',
      ],
      ['verify', 'a.zip', '--restore-drill'],
    ])
      expect(await user.run(args, { env })).toMatchObject({ code: 0, stdout: '7\n' });
    expect(bodies).toEqual([
      {
        url: 'a.zip',
        backupFirst: true,
        allowExtraTables: true,
        allowExtraColumns: true,
        dropColumns: ['repository.node.a', 'repository.node.b'],
        fireEventTriggers: true,
        keepViolations: true,
        removeExtraLargeObjects: true,
        otherDatabase: true,
        tables: ['repository.node', 'repository.revision'],
      },
      { url: 'a.zip', intoSchemas: { repository: 'aside', shop: 'shop_aside' }, create: true },
      {
        url: 'a.zip',
        level: 'DRILL',
        allowExtraTables: true,
        allowExtraColumns: true,
        dropColumns: ['repository.node.a'],
        fireEventTriggers: true,
        otherDatabase: true,
      },
      { url: 'a.zip', restoreDrill: true },
    ]);
    await closed(api.server);
  });

  test('workers lists the running workers and their warnings', async () => {
    const { workers } = await user.json<{ workers: WorkerView[] }>('workers');
    expect(workers).toMatchObject([{ takesJobs: true, role: 'snapshotd' }]);
    const { stdout } = await user.run(['workers']);
    expect(stdout).toMatch(
      /^HOST +VERSION +NODE +PG_DUMP +ROLE +DATABASE +JOBS +SINCE\n\S+ +\S+ +\d+\.\S+ +\d+\.\d+ (\(bundled\))? +snapshotd +test_\w+ +idle +20/,
    );
    expect(stdout).toContain(': The role snapshotd is a superuser');
  });

  test('latest stands for the newest archive that no verification has rejected, and delete deletes one', async () => {
    const newest = nameOf(await user.json<DaemonStatus>('backup', '--wait'));
    expect((await user.run(['latest'])).stdout).toBe(`${newest}\n`);
    const verified = await user.json<DaemonStatus>('verify', 'latest', '--level', 'READ', '--wait');
    expect(nameOf(verified)).toBe(newest);
    expect(await user.json('latest', '--verified')).toMatchObject({ name: newest, restorable: true });

    expect(await user.run(['delete', newest])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'snapshotd: This deletes an archive. Without a terminal to confirm at, it needs --yes.\n',
    });
    expect((await user.run(['delete', newest, '--yes'])).stdout).toBe(`${newest} deleted.\n`);
    expect((await user.run(['latest'])).stdout).not.toContain(newest);
    expect(await user.run(['delete', newest, '--yes'])).toMatchObject({ code: 5 });
    // No name but that of an archive: nobody deletes the newest one by mistake.
    expect(await user.run(['delete', 'latest', '--yes'])).toMatchObject({ code: 5 });
  });

  test('terminate says of a job that has ended that nothing was terminated', async () => {
    const { id } = await user.json<DaemonStatus>('backup', '--wait');
    expect(await user.run(['terminate', id])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^status +COMPLETED$/m),
      stderr: `BACKUP ${id} had already ended. Nothing was terminated.\n`,
    });
  });

  test('download writes the whole archive, readable by its owner only, and replaces no file', async () => {
    const file = join(user.folder, archive);
    const { bytes } = await user.json<{ bytes: number }>('download', archive);
    expect(statSync(file)).toMatchObject({ size: bytes });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file).subarray(0, 4).toString('latin1')).toBe('PK\x03\x04');
    expect(await user.run(['download', archive])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${archive} already exists.`),
    });
    writeFileSync(file, '');
    await user.json('download', archive, '--force');
    expect(statSync(file).size).toBe(bytes);
  });

  test('an interrupted download leaves no file', async () => {
    const before = readdirSync(user.folder);
    network.breakAfterBytes = 1_000_000;
    expect(await user.run(['download', archive, '-o', 'broken.zip'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^snapshotd: The connection broke after \d+ of \d+ bytes\. Try again\.$/m,
      ),
    });
    network.breakAfterBytes = Infinity;

    const store = await serve((_incoming, answer) => {
      answer.writeHead(200, { 'Content-Length': 1_000_000 }).write(Buffer.alloc(500_000));
    });
    const api = await serve((_incoming, answer) => answer.writeHead(302, { Location: store.url }).end());
    const env = { SNAPSHOTD_URL: api.url, SNAPSHOTD_TOKEN: 'a' };
    const download = user.start(['download', 'a.zip'], { env });
    await download.says(/kB\/1\.0 MB/);
    expect(existsSync(join(user.folder, 'a.zip'))).toBe(false);
    download.process.kill('SIGINT');
    expect(await download.ended()).toMatchObject({
      code: 130,
      stderr: expect.stringMatching(/^snapshotd: Download interrupted\. The partial file is removed\.$/m),
    });
    expect(readdirSync(user.folder)).toEqual(before);
    await closed(api.server);
    await closed(store.server);
  });

  test('schedules are set, shown and deleted', async () => {
    const options = ['--pattern', '30 2 * * *', '--time-zone', 'Europe/Berlin', '--then', 'restoreDrill'];
    expect(
      await user.json<ScheduleView>(
        'schedule',
        'set',
        'nightly',
        ...options,
        '--keep-last',
        '3',
        '--keep-daily',
        '7',
      ),
    ).toMatchObject({
      pattern: '30 2 * * *',
      timeZone: 'Europe/Berlin',
      then: 'DRILL',
      retention: { last: 3, daily: 7 },
      enabled: true,
    });
    expect(
      await user.json('schedule', 'set', 'paused', '--pattern', '0 0 1 1 *', '--disabled'),
    ).toMatchObject({
      then: 'READ',
      retention: null,
      enabled: false,
    });
    const list = (await user.run(['schedule', 'list'])).stdout;
    expect(list).toMatch(/^nightly +30 2 \* \* \* +Europe\/Berlin +DRILL +3 last, 7 daily +20/m);
    expect(list).toMatch(/^paused .* disabled +never$/m);
    expect((await user.run(['schedule', 'show', 'nightly'])).stdout).toMatch(/^keeps +3 last, 7 daily$/m);
    expect(await user.json('schedule', 'pruning', 'nightly')).toEqual({ keep: [], delete: [] });

    await sql(
      stack.env['DATABASE_URL'] ?? '',
      `INSERT INTO snapshotd.schedule_archive (url, key, schedule, daemon, created_on, completed_on, shrunk)
       VALUES ('http://127.0.0.1/a.zip', 'a.zip', 'nightly', '1', now(), now(), true)`,
    );
    const inColours = { env: { FORCE_COLOR: '1' } };
    expect((await user.run(['schedule', 'list'], inColours)).stdout).toMatch(
      /\x1b\[33mnever, rows are missing since 20[-+\d: ]+\x1b\[39m$/m,
    );
    expect((await user.run(['schedule', 'show', 'nightly'])).stdout).toMatch(
      /^deletes +nothing: rows are missing since 20[-+\d: ]+\. To confirm: snapshotd schedule confirm nightly$/m,
    );
    expect(await user.json('schedule', 'confirm', 'nightly')).toMatchObject({ lostRowsSince: null });
    expect((await user.run(['schedule', 'list'], inColours)).stdout).not.toContain('\x1b');

    // Even a disabled one.
    const { lastRun } = await user.json<ScheduleView>('schedule', 'run', 'paused', '--wait');
    expect(lastRun).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await stack.status(lastRun?.daemonId ?? '')).toMatchObject({ startedBy: 'schedule paused' });

    for (const name of ['nightly', 'paused'])
      expect(await user.json('schedule', 'delete', name)).toEqual({ name });
    expect(await user.json('schedule', 'list')).toEqual({ schedules: [] });
  });
});

describe('the exit code is', () => {
  const cases: [code: number, what: string, args: string[], stderr: RegExp, env?: Record<string, string>][] =
    [
      [
        1,
        'a failed job',
        ['restore', 'missing.zip', '--yes', '--wait'],
        /^snapshotd: RESTORE \d+ failed: .*missing/m,
      ],
      [1, 'a refused request', ['verify', 'https://elsewhere.example.org/a.zip'], /bucket/],
      [
        2,
        'an unknown command',
        ['bakup'],
        /^snapshotd: unknown command 'bakup' \(Did you mean backup\?\)\n$/,
      ],
      [2, 'a missing argument', ['restore'], /missing required argument 'archive'/],
      [2, 'an option that is wrong', ['list', '--limit', 'many'], /Give a whole number/],
      [
        2,
        'a wrong address',
        ['status', '--url', 'example.org'],
        /^snapshotd: "example.org" is not a server's address\./,
      ],
      [3, 'no session', ['status', '--url', 'http://127.0.0.1:1'], /Log in with snapshotd login --url/],
      [
        3,
        'an expired session',
        ['status'],
        /does not accept the token in SNAPSHOTD_TOKEN/,
        { SNAPSHOTD_TOKEN: 'a' },
      ],
      [5, 'no such job', ['status', '999999', '--wait'], /^snapshotd: There is no daemon of this id\.$/m],
      [5, 'no such archive', ['download', 'missing.zip'], /^snapshotd: There is no archive of this name\.$/m],
      [
        5,
        'no such schedule',
        ['schedule', 'show', 'missing'],
        /^snapshotd: There is no schedule of this name\.$/m,
      ],
    ];
  test.each(cases)('%i: %s', async (code, _what, args, stderr, env = {}) => {
    const ended = await user.run(args, { env: { SNAPSHOTD_URL: stack.url, ...env } });
    expect(ended).toMatchObject({ code, stderr: expect.stringMatching(stderr) });
    expect(ended.stderr.match(/^snapshotd: .*$/gm)).toHaveLength(1);
    expect(ended.stderr).not.toMatch(/^ +at /m);
  });

  test('the same if the output is closed, and 1 if it cannot be written', async () => {
    // Not synchronously: the proxy of the object store runs in this process.
    const shell = async (script: string) => {
      const child = spawn('bash', ['-c', script], { cwd: user.folder, env: user.shellEnvironment });
      const [stderr, [status]] = await Promise.all([
        readText(child.stderr),
        once(child, 'close') as Promise<[number]>,
      ]);
      return { status, stderr };
    };
    const failing = 'snapshotd restore missing.zip --yes --wait --json';
    expect((await shell(`${failing} | true; exit \${PIPESTATUS[0]}`)).status).toBe(1);
    expect((await shell(`snapshotd backup --wait 2>&1 | true; exit \${PIPESTATUS[0]}`)).status).toBe(0);
    expect(await shell('snapshotd list > /dev/full')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^snapshotd: Cannot write the output: .*ENOSPC[^\n]*\n$/) as unknown,
    });
  });

  test('3: a wrong password', async () => {
    const args = ['login', '--url', stack.url, '--email', email, '--password-stdin'];
    expect(await new CommandLine().run(args, { input: 'wrong' })).toEqual({
      code: 3,
      stdout: '',
      stderr: 'snapshotd: The email or the password is wrong.\n',
    });
  });

  test('4: no server, or another program', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const env = { SNAPSHOTD_TOKEN: 'a' };
    expect(await user.run(['backup', '--url', url], { env })).toEqual({
      code: 4,
      stdout: '',
      stderr: `snapshotd: Cannot reach ${url}: connect ECONNREFUSED ${url.slice(7)}. Check that snapshotd runs there, or set another address with --url or SNAPSHOTD_URL.\n`,
    });
    const strange = await serve((_request, answer) => answer.end('<h1>It works!</h1>'));
    expect(await user.run(['backup', '--url', strange.url], { env })).toMatchObject({ code: 4 });
    await closed(strange.server);
  });
});

describe('over a bad network', () => {
  test('a start whose reply is lost is sent again, and starts one job', async () => {
    const path = await Proxy.to(stack.url);
    const before = await daemons();
    path.breakAfterBytes = 0;
    const env = { SNAPSHOTD_URL: path.url, SNAPSHOTD_TOKEN: stack.sessionToken };
    const backup = user.start(['backup', '--json'], { env });
    await eventually(() => path.broken > 0);
    expect(await daemons()).toBe(before + 1);
    path.breakAfterBytes = Infinity;
    const { code, stdout } = await backup.ended();
    expect(code).toBe(0);
    const { id } = JSON.parse(stdout) as DaemonStatus;
    expect(await daemons()).toBe(before + 1);
    expect((await stack.finished(id)).status).toBe('COMPLETED');
    await path.close();
  });

  test('--wait continues after a restart of the API', async () => {
    const backup = user.start(['backup', '--wait', '--json']);
    await backup.says(/ started/);
    const id = /BACKUP (\d+)/.exec(backup.stderr)?.[1] ?? '';
    await stalled(id);
    stack.api.signal('SIGKILL');
    await backup.says(/^Connection lost, trying again: Cannot reach http:.*\.$/m);
    await stack.restartApi('SIGKILL');
    await backup.says(/^The server answers again\.$/m);
    network.resume();
    const { code, stdout } = await backup.ended();
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ id, status: 'COMPLETED' });
  });

  test('--wait polls if no events come through', async () => {
    const asked: string[] = [];
    const holding = await serve((incoming, answer) => {
      const { method, url = '', headers } = incoming;
      asked.push(url);
      if (url.endsWith('/events')) return;
      const onward = request(stack.url + url, { method, headers }, (response) => {
        answer.writeHead(response.statusCode ?? 500, response.headers);
        response.pipe(answer);
      });
      incoming.pipe(onward);
    });
    const env = { SNAPSHOTD_URL: holding.url, SNAPSHOTD_TOKEN: stack.sessionToken };
    const { id } = await stack.startBackup();
    await stalled(id);
    const waiting = user.start(['status', id, '--wait', '--json'], { env });
    await eventually(() => asked.filter((url) => url.endsWith(id)).length >= 3);
    network.resume();
    expect(await waiting.ended()).toMatchObject({ code: 0, stdout: expect.stringContaining('COMPLETED') });
    expect(asked.filter((url) => url.endsWith('/events'))).toHaveLength(1);
    await closed(holding.server);
  });
});

describeAtTerminal('at a terminal', () => {
  let person: CommandLine;
  let terminal: Terminal;

  beforeAll(async () => {
    person = new CommandLine();
    terminal = await Terminal.open(person.folder, person.shellEnvironment);
  });
  afterAll(() => terminal.close());

  test('login does not show the password', async () => {
    await terminal.begin(`snapshotd login --url ${stack.url}`);
    await terminal.shows(/^Email:$/m);
    await terminal.type(email);
    await terminal.shows(/^Password of .*:$/m);
    await terminal.type(password);
    const { screen, code } = await terminal.ended();
    expect(screen).toContain(`Logged in at ${stack.url} as ${email}.`);
    expect(screen).not.toContain(password.slice(0, 4));
    expect(code).toBe(0);
  });

  test('the bar moves, with rate and time left, and Ctrl-C ends only the display', async () => {
    await terminal.begin('snapshotd backup --wait');
    const started = await terminal.shows(/^BACKUP \d+ started\.$/m);
    const id = /^BACKUP (\d+) /m.exec(started)?.[1] ?? '';
    await stalled(id);
    const middle = await terminal.shows(/^\[#+-+\] +\d+% [\d,]+\/165,000, [\d,]+\/s, .* left - /m);
    await terminal.press('C-c');
    const { screen, code } = await terminal.ended();
    expect(code).toBe(130);
    expect(screen).toContain(`Job ${id} continues. To follow it: snapshotd status ${id} --wait.`);
    // Each bar overwrites the one before.
    expect(screen.match(/^\[/gm)).toHaveLength(1);

    await terminal.begin(`snapshotd status ${id} --wait`);
    await terminal.shows(/^\[#*-+\] +\d+% /m);
    network.resume();
    const end = await terminal.ended();
    expect(end.code).toBe(0);
    expect(end.screen).toMatch(/^\[#{24}\] 100% 165,000\/165,000.*Finished: BACKUP/m);
    expect(end.screen).toMatch(/^status +COMPLETED$/m);
    expect(end.screen).not.toBe(middle);
  });

  test('a restore shows what it would replace, and asks for the name of the database', async () => {
    const database = new URL(stack.env['DATABASE_URL'] ?? '').pathname.slice(1);
    await sql(stack.env['DATABASE_URL'] ?? '', 'TRUNCATE repository.long');
    await terminal.begin(`snapshotd restore ${archive} --wait`);
    await terminal.shows(/^plan +Replaces \d+ tables?, [\d,]+ rows, in \w+ at 127\.0\.0\.1:\d+$/m);
    await terminal.shows(/Type the database's name/);
    await terminal.type('yes');
    expect(await terminal.ended()).toMatchObject({
      code: 1,
      screen: expect.stringContaining("That is not the database's name. Nothing was restored."),
    });
    await terminal.begin(`snapshotd restore ${archive} --wait`);
    await terminal.shows(/Type the database's name/);
    await terminal.press('C-c');
    expect((await terminal.ended()).code).toBe(130);
    expect(await countRows()).toBe(0);

    await terminal.begin(`snapshotd restore ${archive} --wait`);
    await terminal.shows(/Type the database's name/);
    await terminal.type(database);
    expect(await terminal.ended()).toMatchObject({
      code: 0,
      screen: expect.stringMatching(/^status +COMPLETED$/m),
    });
    expect(await countRows()).toBe(ROWS);
  });

  test('terminate ends a running backup, and schedule set makes a schedule', async () => {
    const { id } = await stack.startBackup();
    await stalled(id);
    await terminal.begin(`snapshotd terminate ${id} --wait`);
    await terminal.shows(/^\[/m);
    network.resume();
    const { screen, code } = await terminal.ended();
    expect(code).toBe(0);
    expect(screen).toMatch(/^error +Backup terminated by the user/m);
    expect((await stack.status(id)).status).toBe('FAILED');

    const made = await terminal.ends("snapshotd schedule set nightly --pattern '30 2 * * *' --keep-daily 7");
    expect(made).toMatchObject({ code: 0, screen: expect.stringMatching(/^keeps +7 daily$/m) });
    expect((await terminal.ends('snapshotd schedule delete nightly')).code).toBe(0);
  });

  test('bash completes commands, options and values', async () => {
    await terminal.ends('source <(snapshotd completion bash)');
    for (const [typed, completed] of [
      ['snapshotd sched', /\$ snapshotd schedule$/m],
      ['snapshotd schedule se', /\$ snapshotd schedule set$/m],
      ['snapshotd schedule set nightly --keep-w', /--keep-weekly$/m],
      ['snapshotd schedule set --then not', /--then nothing$/m],
      ['snapshotd verify --level DR', /--level DRILL$/m],
      ['snapshotd restore --backup', /--backup-first$/m],
      [`snapshotd verify ${archive.slice(0, -8)}`, new RegExp(`verify ${archive}$`, 'm')],
    ] as const) {
      await terminal.press('C-u');
      await terminal.tab(typed);
      await terminal.shows(completed);
    }
  });
});

const fish = spawnSync('fish', ['--version']).status === 0 ? test : test.skip;
const zsh = spawnSync('zsh', ['--version']).status === 0 ? test : test.skip;

test('names for a shell hold nothing that it would run', async () => {
  const names = ['BackupDaemonJob1-1.zip', '$(touch x).zip', 'a b.zip', '`id`.zip', "a'b.zip"];
  const api = await serve((_incoming, answer) =>
    answer.end(JSON.stringify({ backups: names.map((name) => ({ name })), total: names.length })),
  );
  const env = { SNAPSHOTD_URL: api.url, SNAPSHOTD_TOKEN: 'a' };
  expect(await user.run(['names', 'archives'], { env })).toMatchObject({ code: 0, stdout: names[0] });
  await closed(api.server);
});

fish('fish completes commands, options and values', async () => {
  const { stdout } = await user.run(['completion', 'fish']);
  const typed = ['schedule se', 'schedule set --then DR', 'restore --backup', 'completion ba'];
  const asked = typed.map((rest) => `complete -C 'snapshotd ${rest}'\n`);
  const answer = spawnSync('fish', ['--no-config', '-c', stdout + asked.join('')], { encoding: 'utf8' });
  expect(answer.stdout.match(/^\S+/gm)).toEqual(['set', 'DRILL', '--backup-first', 'bash']);
  expect(stdout).toContain(
    "'__snapshotd_at snapshotd verify' -k -a '(snapshotd names archives 2>/dev/null)'",
  );
});

zsh('zsh accepts its script', async () => {
  const { stdout } = await user.run(['completion', 'zsh']);
  expect(spawnSync('zsh', ['-n'], { input: stdout, encoding: 'utf8' })).toMatchObject({
    status: 0,
    stderr: '',
  });
});

test('npx runs it in a checkout, or tells how to build it', () => {
  const checkout = join(servers.folder, `checkout-${randomBytes(4).toString('hex')}`);
  mkdirSync(checkout);
  for (const name of ['package.json', 'bin']) cpSync(name, join(checkout, name), { recursive: true });
  const npx = () =>
    spawnSync('npx', ['--offline', 'snapshotd', '--version'], {
      cwd: checkout,
      env: { PATH: process.env['PATH'], HOME: checkout },
      encoding: 'utf8',
    });
  expect(npx()).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('Run: npm run build') as unknown,
  });
  for (const name of ['dist', 'node_modules']) symlinkSync(join(process.cwd(), name), join(checkout, name));
  expect(npx()).toMatchObject({ status: 0, stdout: `${PRODUCT.version}\n` });
});
