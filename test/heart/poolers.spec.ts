import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from '#config';
import { databaseOptions, openDatabase } from '#database';
import { createLogger } from '#logging';
import { freePort, ServerProcess } from '../../dev/index.js';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore } from '../support/heart.js';
import { newDatabase, openStore, postgresMajors, servers, sql } from '../support/servers.js';
import { postgresUrl } from '../../libs/config/postgres-url.js';
import { queueConnection } from '../../libs/queue/connection.js';

const PGBOUNCER = '/usr/sbin/pgbouncer';
const store = openStore(servers.s3);
afterAll(() => store.close());

/** Debian's PgBouncer in front of a database, on a Unix socket. */
async function pooler(target: string, mode: string): Promise<{ process: ServerProcess; url: string }> {
  const folder = join(servers.folder, `pgbouncer-${randomBytes(4).toString('hex')}`);
  mkdirSync(folder, { mode: 0o755 });
  const { hostname, port: server, username, password, pathname } = new URL(target);
  const port = await freePort();
  const owner = rootsSubstitute();
  if (owner !== undefined) chownSync(folder, owner.uid, owner.gid);
  const configuration = join(folder, 'pgbouncer.ini');
  writeFileSync(
    configuration,
    `[databases]\n* = host=${hostname} port=${server} user=${username} password=${password}\n` +
      `[pgbouncer]\nlisten_addr =\nunix_socket_dir = ${folder}\nlisten_port = ${port}\nauth_type = any\npool_mode = ${mode}\nserver_round_robin = 1\n`,
  );
  const started = await ServerProcess.start({
    name: 'PgBouncer',
    command: PGBOUNCER,
    args: [configuration],
    logFile: join(folder, 'log'),
    pidFile: join(folder, 'pid'),
    stopSignal: 'SIGINT',
    ...(owner !== undefined && { owner }),
  });
  const url = postgresUrl.parse(`postgresql://u:p@${pathname}?host=${folder}&port=${port}`);
  await started.ready(() => sql(url, 'SELECT 1'));
  return { process: started, url };
}

/** PgBouncer does not run as root. */
function rootsSubstitute(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const [, , uid = '', gid = ''] =
    /^nobody:.*$/m.exec(readFileSync('/etc/passwd', 'utf8'))?.[0].split(':') ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

(existsSync(PGBOUNCER) ? test : test.skip)(
  'PgBouncer in session mode serves a backup and a restore; in transaction mode no lock is left behind',
  async () => {
    const url = await newDatabase(postgresMajors.at(-1)?.[1]);
    await sql(
      url,
      'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT generate_series(1, 60000) AS a; CREATE TABLE s.u AS TABLE s.t',
    );
    const sessions = await pooler(url, 'session');
    const { key } = await runBackup(store, sessions.url, ['s'], { definitions: 'auto' });
    expect((await DownloadedArchive.of(store, key)).manifest().leftOut).toEqual([]);
    await runRestore(store, sessions.url, ['s'], key);
    await sessions.process.stop();

    for (const mode of ['transaction', 'statement']) {
      const transactions = await pooler(url, mode);
      // Of two connections that take turns, it gives a client the same one again and again.
      await Promise.all([1, 2].map(() => sql(transactions.url, 'SELECT pg_sleep(0.1)')));
      await expect(runBackup(store, transactions.url, ['s'])).rejects.toMatchObject({
        code: 'POOLED_TRANSACTIONS',
        persistence: 'permanent',
      });
      await expect(runRestore(store, transactions.url, ['s'], key)).rejects.toMatchObject({
        code: 'POOLED_TRANSACTIONS',
      });
      const pooled = new Secret(transactions.url);
      const logger = createLogger('test', 'silent');
      for (const [setting, starting] of [
        ['DATABASE_URL', openDatabase(databaseOptions(pooled))],
        ['QUEUE_URL', queueConnection(pooled, 'producer', logger)],
      ] as const)
        await expect(starting).rejects.toMatchObject({
          code: 'POOLED_TRANSACTIONS',
          hint: expect.stringContaining(setting) as string,
        });
      expect(await sql(url, `SELECT FROM pg_locks WHERE locktype = 'advisory'`)).toEqual([]);
      // Nor do its other clients find our settings.
      expect(await sql(transactions.url, 'SHOW search_path')).toEqual([{ search_path: '"$user", public' }]);
      await transactions.process.stop();
    }
  },
);
