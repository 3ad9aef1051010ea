import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { DaemonStatus } from '#contracts';
import { ServerProcess } from '../../dev/index.js';
import { readExposition } from '../support/exposition.js';
import { newDatabase, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

/** Somebody whom the system does not know, and who has no home. */
const NOBODY = ['--reuid=54321', '--regid=54321', '--clear-groups', '--no-new-privs', '--bounding-set=-all'];

/**
 * Makes all that is mounted read-only, for this process and its children, makes sure that not even root can write
 * anywhere, and becomes nobody.
 */
const SEALED = `
  mount --make-rprivate / || exit 90
  for place in $(cut -d ' ' -f 5 /proc/self/mountinfo | sort -u); do mount -o remount,bind,ro "$place" 2>/dev/null; done
  for place in / /tmp /var/tmp /dev/shm "$HOME" "$PWD"; do
    if [ -d "$place" ] && touch "$place/x" 2>/dev/null; then echo "$place can be written to"; exit 91; fi
  done
  unset HOME TMPDIR
  exec setpriv ${NOBODY.join(' ')} "$@"`;

const permitted =
  process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'setpriv', '--version']).status === 0;
if (!permitted)
  process.stdout.write(
    '\nNOT TESTED: no mount namespace is permitted here: no worker runs on a read-only system.\n',
  );

(permitted && servers.debianPostgres ? test : test.skip)(
  'a worker needs neither a file that it can write nor a home, not even for definitions',
  async () => {
    const debian = servers.debianPostgres;
    const database = await newDatabase(debian?.url);
    const stack = await Stack.start({
      workers: 0,
      env: { DATABASE_URL: database, BACKUP_DEFINITIONS: 'required' },
    });
    await sql(database, "INSERT INTO repository.principal (name) VALUES ('p')");
    const worker = await ServerProcess.start({
      name: 'The sealed worker',
      command: 'unshare',
      args: [
        '--mount',
        'sh',
        '-c',
        SEALED,
        'sh',
        process.execPath,
        join('dist', 'apps', 'worker', 'main.js'),
      ],
      env: { ...stack.env, PATH: `${debian?.binaries}:${process.env['PATH']}`, HOME: '/root' },
      logFile: join(stack.folder, 'sealed.log'),
      pidFile: join(stack.folder, 'sealed.pid'),
      stopSignal: 'SIGTERM',
    });
    stack.workers.push(worker);
    // One that cannot start is heard of here.
    const ended = worker.ended().then(() => {
      throw new Error(worker.logTail());
    });
    ended.catch(() => undefined);
    const completed = (id: string) => Promise.race([stack.finished(id), ended]);
    const backup = await completed((await stack.startBackup()).id);
    expect(backup).toMatchObject({ status: 'COMPLETED', progresssMessage: 'Finished: BACKUP' });
    await sql(database, 'DELETE FROM repository.principal');
    for (const [type, more] of [
      ['Restore', { backupFirst: true }],
      ['Verify', { restoreDrill: true }],
    ] as const) {
      const { body } = await stack.call<DaemonStatus>('POST', `/repo/v1/start${type}Daemon`, {
        url: backup.backupUrl,
        ...more,
      });
      expect(await completed(body.id)).toMatchObject({ status: 'COMPLETED' });
    }
    const metrics = await fetch(`${stack.url}/metrics`, { headers: { sessionToken: stack.sessionToken } });
    const { value } = readExposition(await metrics.text());
    expect(value('snapshotd_drill_duration_seconds')).toBeGreaterThan(0);
    for (const level of ['READ', 'FIT', 'DRILL'])
      expect(value('snapshotd_verification_last_age_seconds', { level })).toBeGreaterThanOrEqual(0);
    expect(await sql(database, 'SELECT name FROM repository.principal')).toEqual([{ name: 'p' }]);
    await stack.stop();
  },
);
