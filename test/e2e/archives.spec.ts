import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import pg from 'pg';
import { ZipFile } from 'yazl';
import { Secret } from '#config';
import type { DaemonStatus } from '#contracts';
import { Keys } from '#keys';
import { S3Proxy } from '../support/s3-proxy.js';
import { openStore, putBytes, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

interface Archive {
  name: string;
  restorable: boolean | null;
  createdOn: number;
  problem: string | null;
}
interface ArchiveList {
  backups: Archive[];
  total: number;
}

const never = new AbortController().signal;
const path = (name: string, more = '') => `/repo/v1/backups/${encodeURIComponent(name)}${more}`;
const MISSING = { status: 404, body: { reason: 'There is no archive of this name.' } };

describe('the archives below a prefix', () => {
  const prefix = `shelf-${randomBytes(4).toString('hex')}/`;
  const store = openStore(servers.s3);
  let network: S3Proxy;
  let stack: Stack;
  let backup: DaemonStatus;
  let bytes: Buffer;
  let name: string;
  const list = async (query = '') => (await stack.call<ArchiveList>('GET', `/repo/v1/backups${query}`)).body;
  const isThere = async (key: string) => (await store.open(key, never)) !== undefined;

  beforeAll(async () => {
    network = await S3Proxy.to(servers.s3.endpoint);
    stack = await Stack.start({
      env: { S3_PREFIX: prefix, S3_ENDPOINT: network.url, BACKUP_DEFINITIONS: 'auto' },
    });
    await sql(
      stack.env['DATABASE_URL'] ?? '',
      'CREATE TABLE repository.things AS SELECT i FROM generate_series(1, 7) i',
    );
    backup = await stack.finished((await stack.startBackup()).id);
    name = backup.backupUrl?.split('/').at(-1) ?? '';
    const object = await store.open(prefix + name, never);
    bytes = object === undefined ? Buffer.alloc(0) : await buffer(object.read(0, object.length));
    const damaged = Buffer.from(bytes);
    const inManifest = bytes.indexOf('manifest.json') + 100;
    damaged.writeUInt8(damaged.readUInt8(inManifest) ^ 1, inManifest);
    await putBytes(`${prefix}half.zip`, bytes.subarray(0, bytes.length / 2));
    await putBytes(`${prefix}damaged.zip`, damaged);
    await putBytes(`${prefix}empty.zip`, Buffer.from(' '));
    await putBytes(`${prefix}a name.zip`, bytes);
    await putBytes(`${prefix}notes.txt`, bytes);
    await putBytes(`elsewhere-${prefix}outside.zip`, bytes);
  });
  afterAll(async () => {
    await stack.stop();
    await network.close();
  });

  test('are listed with what their manifests say, or with why they cannot be read', async () => {
    const { backups, total } = await list();
    expect(total).toBe(5);
    const byName = new Map(backups.map((archive) => [archive.name, archive]));
    expect(byName.get(name)).toEqual({
      name,
      url: backup.backupUrl,
      repository: 'default',
      createdOn: expect.any(Number),
      bytes: bytes.length,
      takenOn: expect.any(Number),
      entities: 7,
      daemonId: backup.id,
      formatVersion: 2,
      omissions: [],
      warnings: [],
      verifiedOn: null,
      verifiedBy: null,
      restorable: null,
      verification: null,
      problem: null,
    });
    for (const other of ['half.zip', 'damaged.zip', 'empty.zip'])
      expect(byName.get(other)).toMatchObject({
        takenOn: null,
        entities: null,
        problem: expect.stringMatching(/^This is not a complete snapshotd archive: /),
      });
    expect(byName.get('a name.zip')?.problem).toMatch(/^No restore accepts this name\. Rename/);
    const times = backups.map(({ createdOn }) => createdOn);
    expect(times).toEqual([...times].sort((one, other) => other - one));
  });

  test('show another installation’s too, and are listed newest first, in pages', async () => {
    await putBytes(`${prefix}other/copy.zip`, bytes);
    const all = (await list()).backups.map((archive) => archive.name);
    expect(all).toHaveLength(6);
    expect(all[0]).toBe('other/copy.zip');
    expect(all.at(-1)).toBe(name);
    const page = await list('?limit=2&offset=1');
    expect({ names: page.backups.map((archive) => archive.name), total: page.total }).toEqual({
      names: all.slice(1, 3),
      total: 6,
    });
    for (const query of ['?limit=0', '?limit=101', '?offset=x', '?limit=1&limit=2', '?sort=name'])
      expect((await stack.call('GET', `/repo/v1/backups${query}`)).status).toBe(400);
  });

  test('may be hostile', async () => {
    const zip = new ZipFile();
    zip.addBuffer(Buffer.from(`[${'[],'.repeat(6_000_000)}0]`), 'manifest.json');
    zip.end();
    await putBytes(`${prefix}hostile.zip`, await buffer(zip.outputStream as Readable));
    const { body } = await stack.call<Archive>('GET', path('hostile.zip'));
    expect(body.problem).toMatch(/^This is not a complete snapshotd archive: its manifest\.json/);
    expect((await stack.call('DELETE', path('hostile.zip'))).status).toBe(204);
  });

  test('are read once and cached', async () => {
    await list();
    const before = network.count('GetObject');
    await list();
    expect(network.count('GetObject')).toBe(before);
  });

  test('tell more when they are asked for by name, also in a folder', async () => {
    for (const asked of [name, 'other/copy.zip'])
      expect((await stack.call('GET', path(asked))).body).toMatchObject({
        name: asked,
        entities: 7,
        problem: null,
        product: { name: 'snapshotd' },
        schemas: ['repository'],
        tables: expect.arrayContaining([
          { schema: 'repository', name: 'things', rows: 7, bytes: expect.any(Number) },
        ]),
        sequences: expect.any(Number),
        extensions: [],
        definitions: expect.any(Boolean),
      });
    expect((await stack.call('GET', path('half.zip'))).body).toMatchObject({
      problem: expect.stringContaining('This is not a complete snapshotd archive'),
      tables: null,
      product: null,
    });
  });

  test('can be downloaded from an address of the store', async () => {
    const { url } = stack;
    const redirect = await fetch(`${url}${path(name, '/download')}`, {
      headers: { sessionToken: stack.sessionToken },
      redirect: 'manual',
    });
    expect(redirect.status).toBe(302);
    const location = redirect.headers.get('location') ?? '';
    expect(new URL(location).searchParams.get('X-Amz-Expires')).toBe('900');
    expect(Buffer.from(await (await fetch(location)).arrayBuffer()).equals(bytes)).toBe(true);
    expect(await stack.call('GET', path('none.zip', '/download'))).toMatchObject(MISSING);
  });

  test('show how they were verified', async () => {
    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', { url: name });
    expect(await stack.finished(body.id)).toMatchObject({ status: 'COMPLETED' });
    expect((await stack.call('GET', path(name))).body).toMatchObject({
      verifiedOn: expect.any(Number),
      verifiedBy: 'READ',
      restorable: true,
      verification: { level: 'FIT', durationMs: expect.any(Number), reached: 'FIT' },
    });
  });

  describe('were not verified', () => {
    const proof = 'proof.zip';
    const recordKey = (archive: string) => `${prefix}${archive}.verified.json`;
    let record: Buffer;
    beforeAll(async () => {
      await putBytes(prefix + proof, bytes);
      expect(await verify()).toMatchObject({ status: 'COMPLETED' });
      const object = await store.open(recordKey(proof), never);
      record = object === undefined ? Buffer.alloc(0) : await buffer(object.read(0, object.length));
    });
    afterEach(async () => {
      network.versionId = () => undefined;
      await putBytes(prefix + proof, bytes);
      await putBytes(recordKey(proof), record);
      expect(await restorable(proof)).toEqual({ listed: true, alone: true });
    });
    afterAll(() => stack.call('DELETE', path(proof)));

    async function verify() {
      const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', { url: proof });
      return stack.finished(body.id);
    }
    async function restorable(archive: string) {
      const { backups } = await list('?limit=100');
      const { body } = await stack.call<Archive>('GET', path(archive));
      return {
        listed: backups.find((one) => one.name === archive)?.restorable,
        alone: body.restorable,
      };
    }

    test('when they were replaced by others, as long or longer', async () => {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt8(damaged.readUInt8(100) ^ 1, 100);
      for (const other of [damaged, Buffer.concat([bytes, Buffer.from(' ')]), bytes.subarray(1)]) {
        await putBytes(prefix + proof, other);
        expect(await restorable(proof)).toEqual({ listed: null, alone: null });
      }
    });

    test('when the record is that of another name', async () => {
      await putBytes(`${prefix}copy.zip`, bytes);
      await putBytes(recordKey('copy.zip'), record);
      expect(await restorable('copy.zip')).toEqual({ listed: null, alone: null });
      await stack.call('DELETE', path('copy.zip'));
    });

    test.each([
      [true, 'RESTORE_DRILL', 'DRILL'],
      [false, 'READ', 'FIT'],
    ])('unless in a record of 0.1.0, which names no level', async (restoreDrill, verifiedBy, level) => {
      const facts = JSON.parse(record.toString()) as Record<string, unknown>;
      for (const other of ['code', 'level', 'durationMs', 'proven', 'notProven']) delete facts[other];
      const old = { ...facts, restoreDrill };
      const code = new Keys([new Secret(Stack.secretKey)]).sign('verification record', old);
      await putBytes(recordKey(proof), Buffer.from(JSON.stringify({ ...old, code })));
      expect((await stack.call('GET', path(proof))).body).toMatchObject({
        verifiedBy,
        verification: { level, durationMs: null, proven: [], notProven: [], reached: level },
      });
    });

    test('when somebody has changed the record, or has none of the keys', async () => {
      const facts = JSON.parse(record.toString()) as { code: string };
      expect(facts).toMatchObject({
        archive: prefix + proof,
        etag: expect.any(String),
        versionId: null,
        bytes: bytes.length,
        code: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
      for (const forged of [
        { ...facts, restoreDrill: true },
        { ...facts, verifiedAt: '2030-01-01T00:00:00.000Z' },
        { ...facts, code: 'ab'.repeat(32) },
        { ...facts, code: undefined },
        { ...facts, more: true },
      ]) {
        await putBytes(recordKey(proof), Buffer.from(JSON.stringify(forged)));
        expect(await restorable(proof)).toEqual({ listed: null, alone: null });
      }
    });

    test('when the bucket has another version of the same bytes, which a listing does not show', async () => {
      network.versionId = () => 'v1';
      expect(await restorable(proof)).toEqual({ listed: true, alone: null });
      expect(await verify()).toMatchObject({ status: 'COMPLETED' });
      expect(await restorable(proof)).toEqual({ listed: true, alone: true });
      network.versionId = () => 'v2';
      expect(await restorable(proof)).toEqual({ listed: true, alone: null });
      // One that is older than its bucket's versions.
      network.versionId = () => 'null';
      await putBytes(recordKey(proof), record);
      expect(await restorable(proof)).toEqual({ listed: true, alone: true });
    });

    test('when another version came while they were read', async () => {
      let reads = 0;
      network.versionId = ({ operation, what }) =>
        operation === 'GetObject' && what.includes(proof) && ++reads > 2 ? 'v2' : 'v1';
      expect(await verify()).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringContaining('was replaced while it was read'),
      });
      network.versionId = () => 'v1';
      expect(await restorable(proof)).toEqual({ listed: true, alone: null });
    });
  });

  test('are got at by name with credentials that may not list', async () => {
    await putBytes(`${prefix}known.zip`, bytes);
    await putBytes(`${prefix}known.zip.verified.json`, Buffer.from('{}'));
    network.fault = ({ operation }) =>
      operation === 'ListObjects' ? { status: 403, code: 'AccessDenied' } : undefined;
    expect((await stack.call('GET', '/repo/v1/backups')).status).toBe(502);
    expect((await stack.call('GET', path(name))).body).toMatchObject({ entities: 7, restorable: true });
    expect((await stack.call('GET', path('known.zip'))).body).toMatchObject({
      entities: 7,
      restorable: null,
    });
    const download = await fetch(stack.url + path('known.zip', '/download'), {
      headers: { sessionToken: stack.sessionToken },
      redirect: 'manual',
    });
    expect(download.status).toBe(302);
    expect((await stack.call('DELETE', path('known.zip'))).status).toBe(204);
    expect(await stack.call('DELETE', path('known.zip'))).toMatchObject(MISSING);
    network.fault = () => undefined;
    expect(await isThere(`${prefix}known.zip`)).toBe(false);
    expect(await isThere(`${prefix}known.zip.verified.json`)).toBe(false);
  });

  test.each(['none.zip', '../outside.zip', 'notes.txt', 'half.zip.verified.json', 'a/../half.zip'])(
    'have none called %s',
    async (other) => {
      expect(await stack.call('GET', path(other))).toMatchObject(MISSING);
      expect(await stack.call('DELETE', path(other))).toMatchObject(MISSING);
    },
  );

  test('are all that is ever touched', async () => {
    const outside = `elsewhere-${prefix}outside.zip`;
    expect(await stack.call('DELETE', path(`${network.url}/archives/${outside}`))).toMatchObject(MISSING);
    expect(await isThere(outside)).toBe(true);
    expect(await isThere(`${prefix}notes.txt`)).toBe(true);
  });

  const neededBy = (id: string) => ({
    status: 409,
    body: { reason: `Job ${id} needs the archive. Wait for its end, or terminate it.` },
  });

  test('are not deleted while a job uses them', async () => {
    const holder = new pg.Client(stack.env['DATABASE_URL']);
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE repository.node IN ACCESS EXCLUSIVE MODE');
    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startRestoreDaemon', { url: name });
    await stack.watch(body.id, ({ progresssMessage }) => progresssMessage.startsWith('Waiting for table'));
    expect(await stack.call('DELETE', path(name))).toMatchObject(neededBy(body.id));
    expect(await isThere(prefix + name)).toBe(true);
    await stack.call('DELETE', `/repo/v1/terminateDaemon/${body.id}`);
    expect((await stack.finished(body.id)).status).toBe('FAILED');
    await holder.end();
  });

  test('are not deleted while a waiting job needs them, and later with their verification record', async () => {
    await stack.workers.pop()?.stop();
    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', { url: name });
    expect(await stack.call('DELETE', path(name))).toMatchObject(neededBy(body.id));
    expect(await isThere(prefix + name)).toBe(true);
    await stack.call('DELETE', `/repo/v1/terminateDaemon/${body.id}`);
    expect((await stack.call('DELETE', path(name))).status).toBe(204);
    expect(await isThere(prefix + name)).toBe(false);
    expect(await isThere(`${prefix}${name}.verified.json`)).toBe(false);
    expect(await stack.call('DELETE', path(name))).toMatchObject(MISSING);
    expect((await stack.call('DELETE', path('other/copy.zip'))).status).toBe(204);
  });
});
