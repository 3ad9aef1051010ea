import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { freePort } from '../dev/index.js';

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
        // An empty repository has no rate.
        .replace(/^100% .* - /, '100%.* - ')
        .replace(/\d+((,|\\\.)\d+)*/g, '[\\d,.]+')
        .replace(/ +/g, ' +'),
    );
  expect(patterns).not.toEqual([]);
  expect(output).toMatch(new RegExp(patterns.join('[^]*?')));
}

test('the demo backs 785 entities up, deletes them, and brings them back', async () => {
  const demo = spawn(process.execPath, ['--no-warnings', tool('demo')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output, [code]] = await Promise.all([text(demo.stdout), once(demo, 'exit')]);
  expect(code).toBe(0);
  expectShown(output, 'npm run demo');
  expect(output).toContain('100% 863/863 Finished: BACKUP');
  expect(output).toMatch(/"status": "COMPLETED",[^]*"progresssTotal": 863,/);
  expect(output).toMatch(/data\/repository\.node\/000001\.csv +380 rows/);
  expect(output).toMatch(
    / 0 entities are left\.[^]*100% 863\/863 Finished: RESTORE\n {2}785 entities are back\./,
  );
  expect(output).not.toContain('\x1b');
});

test('start runs everything, stops at a signal, and starts again after a crash on the same data, by the command line too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'snapshotd-start-'));
  chmodSync(folder, 0o711);
  const port = String(await freePort());
  const begin = async (...command: string[]) => {
    const started = spawn(process.execPath, ['--no-warnings', ...command], {
      cwd: folder,
      env: { ...process.env, PORT: port, METRICS_TOKEN: 'a-token-of-the-API-alone' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    started.stdout.setEncoding('utf8').on('data', (more: string) => (output += more));
    while (!output.includes('Ctrl-C')) {
      if (started.exitCode !== null) throw new Error(`start ended: ${output}`);
      await new Promise((wake) => setTimeout(wake, 50));
    }
    const password = /password +(\S+)/.exec(output)?.[1] ?? '';
    const login = await fetch(`http://127.0.0.1:${port}/auth/v1/session`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ email: 'admin@example.org', password }),
    });
    expect(login.status).toBe(201);
    const { sessionToken } = (await login.json()) as { sessionToken: string };
    return { started, password, sessionToken, output: () => output };
  };
  const ask = (token: string, method: string, path: string) =>
    fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { sessionToken: token } }).then((response) =>
      response.json(),
    );

  const first = await begin(tool('start'));
  expect(await ask(first.sessionToken, 'POST', '/repo/v1/startBackupDaemon')).toMatchObject({ id: '1' });
  let status: unknown;
  while (
    !JSON.stringify((status = await ask(first.sessionToken, 'GET', '/repo/v1/daemonStatus/1'))).includes(
      'COMPLETED',
    )
  );
  // Each has a role of its own, and the worker nothing to warn of.
  expect(await ask(first.sessionToken, 'GET', '/repo/v1/workers')).toMatchObject({
    workers: [{ role: 'snapshotd_worker', superuser: false, takesJobs: true, warnings: [] }],
  });
  expectShown(first.output(), 'npm start');
  await followReadme(`http://127.0.0.1:${port}`, first.sessionToken);
  // Of the API's secrets the worker has none.
  const { pid } = JSON.parse(readFileSync(join(folder, '.data', 'worker.pid'), 'utf8')) as { pid: number };
  if (process.platform === 'linux')
    expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toMatch(/ADMIN_|WEBHOOK_|METRICS_TOKEN/);
  for (const file of ['postgres-api-password', 'postgres-worker-password'])
    expect(statSync(join(folder, '.data', file)).mode & 0o777).toBe(0o600);
  first.started.kill('SIGKILL');
  await once(first.started, 'exit');

  const second = await begin(resolve('dist', 'apps', 'cli', 'main.js'), 'start');
  expect(second.password).toBe(first.password);
  // The session and the daemon are where the crashed run left them.
  expect(await ask(first.sessionToken, 'GET', '/repo/v1/daemonStatus/1')).toEqual(status);
  second.started.kill('SIGTERM');
  expect(await once(second.started, 'exit')).toEqual([0, null]);
  expect(second.output()).toContain('Stopped.');
  await expect(fetch(`http://127.0.0.1:${port}/health/live`)).rejects.toThrow();
  rmSync(folder, { recursive: true });
});

/** Backs up, verifies and restores with the commands of the README. */
async function followReadme(url: string, token: string): Promise<void> {
  const env = { ...process.env, SNAPSHOTD_URL: url, SNAPSHOTD_TOKEN: token };
  let archive = '';
  for (const { command } of shown) {
    if (!/^snapshotd (?!login)/.test(command)) continue;
    const [, ...args] = command.replace(/BackupDaemonJob\S+/, archive).split(' ');
    const { stdout, stderr } = await promisify(execFile)(resolve('bin/snapshotd.js'), args, { env });
    expectShown(stderr + stdout, command);
    archive ||= /BackupDaemonJob\S+\.zip/.exec(stdout)?.[0] ?? '';
  }
}
