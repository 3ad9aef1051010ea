import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { Client, freePort } from '../dev/index.js';
import { eventually } from './support/eventually.js';
import { sql } from './support/servers.js';

const tool = (name: string) => resolve('dist', 'tools', `${name}.js`);

/** The commands that the README shows at a terminal, each with the lines that it prints. */
const shown = [...readFileSync('README.md', 'utf8').matchAll(/^```console\n([^]*?)^```/gm)]
  .flatMap(([, block = '']) => block.split(/^\$ /m).slice(1))
  .map((entry) => {
    const [command = '', ...lines] = entry.trimEnd().split('\n');
    return { command, lines };
  });

/** Expects that a program prints, in this order, what the README shows of it. Numbers and the password may differ. */
function expectShown(output: string, ofCommand: string): void {
  const patterns = shown
    .filter(({ command }) => command.includes(ofCommand))
    .flatMap(({ lines }) => lines)
    .map((line) =>
      line
        .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
        .replace(/^(password +)\S+/, '$1\\S+')
        .replace(/^(database +psql ).*/, '$1postgres:.*')
        // An empty repository has no rate.
        .replace(/^100% .* - /, '100%.* - ')
        // Its figure may be in milliseconds.
        .replace(/^took .*/, 'took .*')
        .replace(/ from shop\\\.$/, ' from \\w+\\.')
        .replace(/\d+((,|\\\.)\d+)*/g, '[\\d,.]+')
        .replace(/ +/g, ' +'),
    );
  expect(patterns).not.toEqual([]);
  expect(output).toMatch(new RegExp(patterns.join('[^]*?')));
}

test('the demo backs up 785 entities, drops the database, and recovers it', async () => {
  const demo = spawn(process.execPath, ['--no-warnings', tool('demo')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output, [code]] = await Promise.all([text(demo.stdout), once(demo, 'exit')]);
  expect(code).toBe(0);
  expectShown(output, 'npm run demo');
  expect(output).toContain('100% 863/863 Finished: BACKUP');
  expect(output).toMatch(/"status": "COMPLETED",[^]*"progresssTotal": 863,/);
  expect(output).toMatch(/data\/repository\.node\/000001\.csv +380 rows/);
  expect(output).toMatch(/\n {2}database\.sql\n {2}schema\.sql\n {2}roles\.sql\n {2}manifest\.json\n/);
  expect(output).toMatch(
    /\$ snapshotd recover s3:[^]*100% 863\/863.* - Finished: RECOVER\n[^]*\nrows +785\n[^]*\n {2}785 entities are back\./,
  );
  expect(output).not.toContain('\x1b');
});

test('start runs everything, stops at a signal, and starts again after a crash on the same data, by the command line too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'snapshotd-start-'));
  chmodSync(folder, 0o711);
  const port = String(await freePort());
  const postgresPort = String(await freePort());
  const client = new Client(`http://127.0.0.1:${port}`);
  const begin = async (...command: string[]) => {
    const started = spawn(process.execPath, ['--no-warnings', ...command], {
      cwd: folder,
      env: {
        ...process.env,
        PORT: port,
        POSTGRES_PORT: postgresPort,
        METRICS_TOKEN: 'a-token-of-the-API-alone',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    started.stdout.setEncoding('utf8').on('data', (more: string) => (output += more));
    await eventually(() => {
      if (started.exitCode !== null) throw new Error(`start ended: ${output}`);
      return output.includes('Ctrl-C');
    });
    const password = /password +(\S+)/.exec(output)?.[1] ?? '';
    await client.login({ email: 'admin@example.org', password });
    return { started, password, output: () => output };
  };

  const first = await begin(tool('start'));
  const session = client.sessionToken;
  expect(await client.startBackup()).toMatchObject({ id: '1' });
  const status = await client.finished('1');
  expect(status).toMatchObject({ status: 'COMPLETED' });
  // Each has a separate role, and the worker has no warnings.
  expect(await client.ask('GET', '/repo/v1/workers')).toMatchObject({
    workers: [{ role: 'snapshotd_worker', superuser: false, takesJobs: true, warnings: [] }],
  });
  expectShown(first.output(), 'npm start');
  expect(first.output()).toMatch(/^Starting the S3 server \.\.\.$/m);
  expect(first.output()).toMatch(/^rows +none; for 785 rows of example data: /m);
  const [, printed = ''] = /^database +psql (\S+)$/m.exec(first.output()) ?? [];
  expect(await sql(printed, 'SELECT count(*)::int AS rows FROM repository.node')).toEqual([{ rows: 0 }]);
  const postgres = `postgres://snapshotd:${readFileSync(join(folder, '.data/postgres/password'), 'utf8')}@127.0.0.1:${postgresPort}`;
  await followReadme({ url: `http://127.0.0.1:${port}`, token: session ?? '', postgres, cwd: folder });
  // The worker has none of the API's secrets.
  const { pid } = JSON.parse(readFileSync(join(folder, '.data', 'worker.pid'), 'utf8')) as { pid: number };
  if (process.platform === 'linux')
    expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toMatch(/ADMIN_|WEBHOOK_|METRICS_TOKEN/);
  for (const file of ['postgres-api-password', 'postgres-worker-password'])
    expect(statSync(join(folder, '.data', file)).mode & 0o777).toBe(0o600);
  first.started.kill('SIGKILL');
  await once(first.started, 'exit');

  const second = await begin(resolve('dist', 'apps', 'cli', 'main.js'), 'start', '--with-example-data');
  expect(second.password).toBe(first.password);
  // The session and the job survived the crash.
  client.sessionToken = session;
  expect(await client.status('1')).toEqual(status);
  expect(second.output()).toMatch(/^rows +785 rows of example data were added$/m);
  second.started.kill('SIGTERM');
  expect(await once(second.started, 'exit')).toEqual([0, null]);
  expect(second.output()).toContain('Stopped.');
  await expect(fetch(`http://127.0.0.1:${port}/health/live`)).rejects.toThrow();
  rmSync(folder, { recursive: true });
});

interface Reader {
  url: string;
  token: string;
  /** A superuser's URL of the server, without a database. */
  postgres: string;
  cwd: string;
}

/** Backs up, verifies, restores and recovers with the commands of the README. */
async function followReadme({ url, token, postgres, cwd }: Reader): Promise<void> {
  const env = { ...process.env, SNAPSHOTD_URL: url, SNAPSHOTD_TOKEN: token };
  let archive = '';
  for (const { command } of shown) {
    if (!/^snapshotd (?!login)/.test(command)) continue;
    const own = command.replace(/BackupDaemonJob\S+/, archive).replace(/postgres:\/\/[^/]+/, postgres);
    const [, ...args] = own.split(' ');
    const { stdout, stderr } = await promisify(execFile)(resolve('bin/snapshotd.js'), args, { env, cwd });
    expectShown(stderr + stdout, command);
    archive ||= /BackupDaemonJob\S+\.zip/.exec(stdout)?.[0] ?? '';
  }
}
