import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import type { Archive, DaemonStatus } from '#contracts';
import { CommandLine } from '../support/command-line.js';
import { openStore, putBytes, servers } from '../support/servers.js';
import { Stack } from '../support/stack.js';

interface ArchiveList {
  backups: Archive[];
}

const never = new AbortController().signal;
const path = (name: string, more = '') => `/repo/v1/backups/${encodeURIComponent(name)}${more}`;
const MISSING = { status: 404, body: { reason: 'There is no archive of this name.' } };

describe('names of archives', () => {
  const store = openStore(servers.s3);
  /** In folders, because the S3 server of the tests keeps objects as files. */
  const nameOf = (bytes: number) => `${'a'.repeat(99)}/`.repeat(12).slice(0, bytes - 5) + 'z.zip';
  const bytesOf = async (key: string) => {
    const object = await store.open(key, never);
    return object === undefined ? Buffer.alloc(0) : buffer(object.read(0, object.length));
  };

  test('have up to 1,024 bytes with the prefix, and work everywhere', async () => {
    const prefix = `long-${randomBytes(4).toString('hex')}/`;
    const stack = await Stack.start({ env: { S3_PREFIX: prefix } });
    const { backupUrl } = await stack.finished((await stack.startBackup()).id);
    const bytes = await bytesOf(prefix + (backupUrl?.split('/').at(-1) ?? ''));
    const name = nameOf(1_024 - prefix.length);
    const key = prefix + name;
    expect(Buffer.byteLength(key)).toBe(1_024);
    await putBytes(key, bytes);
    const other = nameOf(1_024 - prefix.length - 1);
    await putBytes(prefix + other, bytes);

    const url = `${servers.s3.endpoint}/archives/${key}`;
    const encoded = `${servers.s3.endpoint}/archives/${[...key].map((each) => `%${each.charCodeAt(0).toString(16)}`).join('')}`;
    for (const [type, address] of [
      ['Verify', name],
      ['Restore', url],
      ['Verify', encoded],
    ] as const) {
      const { body } = await stack.call<DaemonStatus>('POST', `/repo/v1/start${type}Daemon`, {
        url: address,
      });
      expect(await stack.finished(body.id)).toMatchObject({ status: 'COMPLETED', backupUrl: url });
      expect((await stack.call('GET', `/admin/daemons/${body.id}`)).body).toContain(
        `/admin/archives/${encodeURIComponent(name)}`,
      );
    }
    const { body: list } = await stack.call<ArchiveList>('GET', '/repo/v1/backups');
    const byName = new Map(list.backups.map((archive) => [archive.name, archive]));
    expect(byName.get(name)).toMatchObject({ problem: null, restorable: true, url });
    expect(byName.get(other)).toMatchObject({ problem: null, restorable: null });
    expect((await stack.call('GET', path(name))).body).toMatchObject({ name, restorable: true });
    for (const page of ['', '/restore', '/delete']) {
      const { status, body } = await stack.call('GET', `/admin/archives/${encodeURIComponent(name)}${page}`);
      expect({ status, named: JSON.stringify(body).includes(name) }).toEqual({ status: 200, named: true });
    }
    const user = new CommandLine({ SNAPSHOTD_URL: stack.url, SNAPSHOTD_TOKEN: stack.sessionToken });
    expect(await user.json('download', name)).toMatchObject({ name, bytes: bytes.length });
    expect(await user.run(['verify', name, '--wait'])).toMatchObject({ code: 0 });

    expect((await stack.call('DELETE', path(name))).status).toBe(204);
    expect(await stack.call('GET', path(name))).toMatchObject(MISSING);
    const left: string[] = [];
    for await (const object of store.list(prefix, never)) left.push(object.key);
    expect(left).toHaveLength(2);

    expect(await stack.call('GET', path(nameOf(1_025)))).toMatchObject(MISSING);
    expect((await stack.call('GET', path(nameOf(1_024) + 'a'.repeat(1_025)))).status).toBe(414);
    await stack.stop();
  });

  test('are those of backups alone where the prefix is no folder', async () => {
    const prefix = `flat-${randomBytes(4).toString('hex')}`;
    const stack = await Stack.start({ env: { S3_PREFIX: prefix } });
    const backup = await stack.finished((await stack.startBackup()).id);
    const key = backup.backupUrl?.split('/').at(-1) ?? '';
    const name = key.slice(prefix.length);
    expect(name).toMatch(/^BackupDaemonJob1-\d+\.zip$/);
    const others = [`-b${name}`, `/${name}`, `b/${name}`, '-monday.zip'];
    for (const other of others) await putBytes(prefix + other, await bytesOf(key));
    expect((await stack.call<ArchiveList>('GET', '/repo/v1/backups')).body).toMatchObject({
      total: 1,
      backups: [{ name }],
    });
    for (const other of others)
      for (const address of [other, `${servers.s3.endpoint}/archives/${prefix}${other}`]) {
        for (const type of ['Restore', 'Verify'])
          expect((await stack.call('POST', `/repo/v1/start${type}Daemon`, { url: address })).status).toBe(
            400,
          );
        for (const [method, more] of [
          ['GET', ''],
          ['GET', '/download'],
          ['DELETE', ''],
        ] as const)
          expect(await stack.call(method, path(address, more))).toMatchObject(MISSING);
      }
    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startRestoreDaemon', { url: name });
    expect(await stack.finished(body.id)).toMatchObject({ status: 'COMPLETED', backupUrl: backup.backupUrl });
    await stack.stop();
  });
});
