import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import pg from 'pg';
import { scopeOf, Secret } from '#config';
import { Failure } from '#common';
import type { ObjectStore } from '#storage';
import { DownloadedArchive } from '../support/archive.js';
import { MemoryJournal, runBackup } from '../support/heart.js';
import { describeOnSwift, newDatabase, openStore, servers, sql, swift } from '../support/servers.js';

/** Runs what must fail, and gives the failure. */
async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const outcome = await work.then(
    () => 'it succeeded',
    (error: unknown) => error,
  );
  if (outcome instanceof Failure) return outcome;
  throw new Error('no Failure', { cause: outcome });
}

async function tableOf(rows: number): Promise<string> {
  const url = await newDatabase();
  await sql(
    url,
    `CREATE SCHEMA s; CREATE TABLE s.t AS SELECT i AS id, sha512(i::text::bytea) AS h FROM generate_series(1, ${rows}) i`,
  );
  return url;
}

const withUser = (url: string, user: string, password: string) => {
  const other = new URL(url);
  other.username = user;
  other.password = password;
  return other.href;
};

describe('PostgreSQL fails a backup', () => {
  let store: ObjectStore;
  beforeAll(() => {
    store = openStore(servers.s3);
  });
  afterAll(() => store.close());

  test('that nobody listens for', async () => {
    const failure = await failureOf(runBackup(store, 'postgres://u:secret@127.0.0.1:1/db', ['s']));
    expect(failure).toMatchObject({ code: 'DATABASE_UNREACHABLE', persistence: 'transient' });
    expect(failure.sentence).toBe(
      'PostgreSQL at 127.0.0.1:1/db cannot be reached (ECONNREFUSED). Check that it runs, and the host and port in REPOSITORY_URL or DATABASE_URL.',
    );
  });

  test('that nobody listens for is waited for once, until a time that is told', async () => {
    const journal = new MemoryJournal();
    const url = new Secret('postgres://u:secret@127.0.0.1:1/db');
    const repository = { url, scope: scopeOf(['s']), retryForMs: 2_500, lockTimeoutMs: 0 };
    const failure = await failureOf(runBackup(store, url.reveal(), ['s'], { journal, repository }));
    expect(failure).toMatchObject({ code: 'DATABASE_UNREACHABLE', persistence: 'permanent' });
    expect(failure.message).toMatch(/ snapshotd retried for 2\.5 seconds \(RETRY_SECONDS\)\.$/);
    expect(journal.messages).toContainEqual(
      expect.stringMatching(
        /^Waiting for PostgreSQL \(try \d, gives up at \d\d:\d\d:\d\d UTC\): PostgreSQL at/,
      ),
    );
  });

  test('that takes the connection and says nothing', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const failure = await failureOf(runBackup(store, `postgres://u:secret@127.0.0.1:${port}/db`, ['s']));
    expect(failure).toMatchObject({ code: 'DATABASE_UNREACHABLE', persistence: 'transient' });
    expect(failure.message).toBe(`PostgreSQL at 127.0.0.1:${port}/db cannot be reached (ETIMEDOUT).`);
    silent.close();
  });

  test('with a wrong password', async () => {
    const url = await newDatabase();
    const failure = await failureOf(runBackup(store, withUser(url, 'snapshotd', 'wrong'), ['s']));
    expect(failure).toMatchObject({ code: 'DATABASE_LOGIN_REFUSED', persistence: 'permanent' });
    expect(failure.sentence).toContain('password authentication failed for user "snapshotd"');
    expect(failure.sentence).toContain('Check user and password in REPOSITORY_URL');
  });

  test('with a database that does not exist', async () => {
    const url = new URL(servers.postgres);
    url.pathname = '/nowhere';
    const failure = await failureOf(runBackup(store, url.href, ['s']));
    expect(failure).toMatchObject({ code: 'DATABASE_MISSING', persistence: 'permanent' });
    expect(failure.sentence).toContain('database "nowhere" does not exist');
  });

  test('with a schema that does not exist', async () => {
    const failure = await failureOf(runBackup(store, await newDatabase(), ['here', 'there']));
    expect(failure).toMatchObject({ code: 'SCHEMA_MISSING', persistence: 'permanent' });
    expect(failure.sentence).toMatch(/has no schema here, there\. Check REPOSITORY_SCHEMAS/);
  });

  test('with tables that the role may not read, naming them all and the GRANT', async () => {
    const url = await newDatabase();
    const role = `reader_${randomBytes(4).toString('hex')}`;
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.a (); CREATE TABLE s."B" (); CREATE TABLE s.c ();
       CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT USAGE ON SCHEMA s TO ${role}; GRANT SELECT ON s.a TO ${role}`,
    );
    const failure = await failureOf(runBackup(store, withUser(url, role, 'pw'), ['s']));
    expect(failure).toMatchObject({ code: 'DATABASE_PERMISSION_DENIED', persistence: 'permanent' });
    expect(failure.sentence).toBe(
      `The role ${role} may not read s.B, s.c: permission denied. Run: GRANT SELECT ON "s"."B", "s"."c" TO "${role}";`,
    );
  });

  test('with rows that a policy hides', async () => {
    const url = await newDatabase();
    const role = `reader_${randomBytes(4).toString('hex')}`;
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.a (x int); ALTER TABLE s.a ENABLE ROW LEVEL SECURITY;
       CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT USAGE ON SCHEMA s TO ${role}; GRANT SELECT ON s.a TO ${role}`,
    );
    const failure = await failureOf(runBackup(store, withUser(url, role, 'pw'), ['s']));
    expect(failure).toMatchObject({ code: 'ROW_SECURITY', persistence: 'permanent' });
    expect(failure.sentence).toContain('BYPASSRLS');
  });
});

describe('locks that others hold', () => {
  test('are waited for, saying for what and for whom', async () => {
    const store = openStore(servers.s3);
    const url = await tableOf(3);
    const holder = new pg.Client({ connectionString: url, application_name: 'a migration' });
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE s.t IN ACCESS EXCLUSIVE MODE');
    const journal = new MemoryJournal();
    const waiting = new Promise<void>((resolve) => {
      journal.onReport = ({ message }) => message.startsWith('Waiting for table s.') && resolve();
    });
    const running = runBackup(store, url, ['s'], { journal });
    await waiting;
    expect(journal.messages.at(-1)).toMatch(
      /^Waiting for table s\.t, which is locked by a migration \(pid \d+[^)]*\)$/,
    );
    await holder.query("INSERT INTO s.t VALUES (4, ''); COMMIT");
    expect((await running).entities).toBe(4);
    await holder.end();
    store.close();
  });

  test('do not hold up a backup that is told to stop', async () => {
    const store = openStore(servers.s3);
    const url = await tableOf(3);
    const holder = new pg.Client(url);
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE s.t IN ACCESS EXCLUSIVE MODE');
    const journal = new MemoryJournal();
    const stop = new AbortController();
    journal.onReport = ({ message }) =>
      message.startsWith('Waiting for table s.') &&
      stop.abort(new Failure('TERMINATED', 'permanent', 'stop'));
    await expect(runBackup(store, url, ['s'], { journal, signal: stop.signal })).rejects.toMatchObject({
      code: 'TERMINATED',
    });
    await holder.query('ROLLBACK');
    const [left] = await sql<{ n: string }>(
      url,
      "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name LIKE 'snapshotd backup%' AND datname = current_database()",
    );
    expect(left?.n).toBe('0');
    await holder.end();
    store.close();
  });
});

test.each(['goes on and tells its progress', 'can still be stopped'])(
  'a backup whose second connection breaks %s',
  async (what) => {
    const store = openStore(servers.s3);
    const url = await tableOf(3);
    const holder = new pg.Client(url);
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE s.t IN ACCESS EXCLUSIVE MODE');
    const journal = new MemoryJournal();
    const waitsAgain = () =>
      new Promise<void>((resolve) => {
        journal.onReport = ({ message }) => message.startsWith('Waiting for table s.t,') && resolve();
      });
    const stop = new AbortController();
    const running = runBackup(store, url, ['s'], { journal, signal: stop.signal });
    await waitsAgain();
    const observers = `FROM pg_stat_activity WHERE application_name LIKE 'snapshotd backup % observer' AND datname = current_database()`;
    const [broken] = await sql<{ pid: number }>(url, `SELECT pid, pg_terminate_backend(pid) ${observers}`);
    await waitsAgain();
    const [restarted] = await sql<{ pid: number }>(url, `SELECT pid ${observers}`);
    expect(restarted?.pid).toBeGreaterThan(0);
    expect(restarted?.pid).not.toBe(broken?.pid);
    if (what === 'can still be stopped') {
      stop.abort(new Failure('TERMINATED', 'permanent', 'stop'));
      await expect(running).rejects.toMatchObject({ code: 'TERMINATED' });
      // The table is still held: nothing but the second connection could have told the server to stop.
      const left = `SELECT count(*) AS n FROM pg_stat_activity WHERE application_name LIKE 'snapshotd backup%' AND datname = current_database()`;
      expect(await sql(url, left)).toEqual([{ n: '0' }]);
    }
    await holder.query('ROLLBACK');
    if (what !== 'can still be stopped') expect((await running).entities).toBe(3);
    await holder.end();
    store.close();
  },
);

describeOnSwift('on an S3 server with signatures and rights', () => {
  let client: S3Client;
  let store: ObjectStore;
  const bucket = 'archives';

  beforeAll(() => {
    store = openStore(
      { endpoint: swift().endpoint, credentials: swift().owner },
      { checksums: 'when_supported' },
    );
    client = new S3Client({ endpoint: swift().endpoint, region: 'us-east-1', forcePathStyle: true });
  });
  afterAll(() => {
    store.close();
    client.destroy();
  });

  async function whatIsThere(prefix: string) {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }));
    const { Uploads = [] } = await client.send(
      new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }),
    );
    return { objects: Contents.map(({ Key }) => Key), uploads: Uploads.map(({ Key }) => Key) };
  }
  const nothing = { objects: [], uploads: [] };
  const newPrefix = () => `${randomBytes(4).toString('hex')}/`;

  test('a backup ends as one object, with the default checksums of the SDK', async () => {
    const keyPrefix = newPrefix();
    const { key, bytes } = await runBackup(store, await tableOf(200_000), ['s'], { keyPrefix });
    expect(bytes).toBeGreaterThan(9 * 1024 * 1024); // More than one part.
    expect(await whatIsThere(keyPrefix)).toEqual({ objects: [key], uploads: [] });
    expect((await DownloadedArchive.of(store, key)).test()).toContain('No errors detected');
  });

  test('a missing bucket is named', async () => {
    const other = openStore(
      { endpoint: swift().endpoint, credentials: swift().owner },
      { bucket: 'no-such-bucket' },
    );
    const failure = await failureOf(runBackup(other, 'postgres://127.0.0.1:1/never-asked', ['s']));
    expect(failure).toMatchObject({ code: 'STORE_BUCKET_MISSING', persistence: 'permanent' });
    expect(failure.sentence).toBe(
      'The bucket no-such-bucket does not exist (NoSuchBucket). Create it, or check S3_BUCKET and S3_ENDPOINT.',
    );
    expect(failure.preface).toMatch(
      /^Status Code: 404, AWS Request ID: \w+(-\w+)*, AWS Error Code: NoSuchBucket$/,
    );
    other.close();
  });

  test('credentials that may not write are told which right they lack', async () => {
    const other = openStore({ endpoint: swift().endpoint, credentials: swift().reader });
    const failure = await failureOf(runBackup(other, 'postgres://127.0.0.1:1/never-asked', ['s']));
    expect(failure).toMatchObject({ code: 'STORE_ACCESS_DENIED', persistence: 'permanent' });
    expect(failure.sentence).toBe(
      'Access Denied: the credentials lack s3:PutObject on the bucket archives. Grant s3:PutObject, then start again.',
    );
    expect(failure.preface).toMatch(
      /^Status Code: 403, AWS Request ID: \w+(-\w+)*, AWS Error Code: AccessDenied$/,
    );
    other.close();
  });

  test('wrong credentials are told so', async () => {
    const credentials = { ...swift().owner, AWS_SECRET_ACCESS_KEY: 'wrong' };
    const other = openStore({ endpoint: swift().endpoint, credentials });
    const failure = await failureOf(runBackup(other, 'postgres://127.0.0.1:1/never-asked', ['s']));
    expect(failure).toMatchObject({ code: 'STORE_LOGIN_REFUSED', persistence: 'permanent' });
    expect(failure.sentence).toContain('(SignatureDoesNotMatch). Check AWS_ACCESS_KEY_ID');
    other.close();
    Object.assign(process.env, swift().owner);
  });

  test('a connection to PostgreSQL that breaks in the middle leaves nothing', async () => {
    const keyPrefix = newPrefix();
    const url = await tableOf(300_000);
    const journal = new MemoryJournal();
    let killed: Promise<unknown> | undefined;
    journal.onReport = ({ current }) => {
      if (current > 0)
        killed ??= sql(
          url,
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^snapshotd backup 1 \\w+$' AND datname = current_database()",
        );
    };
    const failure = await failureOf(runBackup(store, url, ['s'], { keyPrefix, journal }));
    expect(failure).toMatchObject({ code: 'DATABASE_CONNECTION_LOST', persistence: 'transient' });
    await killed;
    expect(await whatIsThere(keyPrefix)).toEqual(nothing);
  });

  test('a backup that is told to stop in the middle of a table leaves nothing', async () => {
    const keyPrefix = newPrefix();
    const journal = new MemoryJournal();
    const stop = new AbortController();
    journal.onReport = ({ current }) =>
      current > 0 && stop.abort(new Failure('TERMINATED', 'permanent', 'stop'));
    const running = runBackup(store, await tableOf(300_000), ['s'], {
      keyPrefix,
      journal,
      signal: stop.signal,
    });
    await expect(running).rejects.toMatchObject({ code: 'TERMINATED' });
    expect(await whatIsThere(keyPrefix)).toEqual(nothing);
  });

  describe('a later attempt', () => {
    /** Leaves a multipart upload like a worker that dies in the middle of it. */
    async function unfinishedUpload(key: string): Promise<string> {
      const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }));
      await client.send(
        new UploadPartCommand({
          Bucket: bucket,
          Key: key,
          UploadId,
          PartNumber: 1,
          Body: Buffer.alloc(6 << 20),
        }),
      );
      return UploadId ?? '';
    }

    test('removes the multipart uploads on record, known by id or by key only, and no others', async () => {
      const keyPrefix = newPrefix();
      const [known, unknown, stranger] = ['1.zip', '2.zip', '1.zip.too'].map(
        (name) => `${keyPrefix}BackupDaemonJob1-${name}`,
      ) as [string, string, string];
      const journal = new MemoryJournal();
      journal.notes = {
        archives: [{ key: known, uploadId: await unfinishedUpload(known) }, { key: unknown }],
        sessions: [],
      };
      await unfinishedUpload(unknown);
      await unfinishedUpload(stranger);
      const { key } = await runBackup(store, await tableOf(3), ['s'], { keyPrefix, journal });
      expect(await whatIsThere(keyPrefix)).toEqual({ objects: [key], uploads: [stranger] });
    });

    test('takes over an archive that is whole and makes no second one', async () => {
      const keyPrefix = newPrefix();
      const url = await tableOf(3);
      const journal = new MemoryJournal();
      const first = await runBackup(store, url, ['s'], { keyPrefix, journal });
      expect(journal.notes.archives).toEqual([{ key: first.key, uploadId: expect.any(String) }]);
      expect(await runBackup(store, url, ['s'], { keyPrefix, journal })).toEqual(first);
      expect(await whatIsThere(keyPrefix)).toEqual({ objects: [first.key], uploads: [] });
    });

    test.each(['cut short', "another job's"])('replaces an archive that is %s', async (fault) => {
      const keyPrefix = newPrefix();
      const url = await tableOf(3);
      const daemonId = fault === 'cut short' ? '1' : '2';
      const made = await runBackup(store, url, ['s'], { keyPrefix: 'elsewhere/', daemonId });
      const length = fault === 'cut short' ? made.bytes - 30 : made.bytes;
      const object = await store.open(made.key, new AbortController().signal);
      const noted = `${keyPrefix}BackupDaemonJob1-1.zip`;
      const Body = Buffer.concat((await object?.read(0, length).toArray()) ?? []);
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: noted, Body }));
      const journal = new MemoryJournal();
      journal.notes = { archives: [{ key: noted }], sessions: [] };
      const { key } = await runBackup(store, url, ['s'], { keyPrefix, journal });
      expect(key).not.toBe(noted);
      expect(await whatIsThere(keyPrefix)).toEqual({ objects: [key], uploads: [] });
    });

    test.each([
      ['of another job', (prefix: string) => `${prefix}BackupDaemonJob2-1.zip`],
      ['of another job whose id begins alike', (prefix: string) => `${prefix}BackupDaemonJob11-1.zip`],
      ['of another prefix', (prefix: string) => `${prefix}below/BackupDaemonJob1-1.zip`],
      ['that is no archive', (prefix: string) => `${prefix}BackupDaemonJob1-1.zip.verified.json`],
    ])('touches no key on record %s', async (_what, keyOf) => {
      const keyPrefix = newPrefix();
      const key = keyOf(keyPrefix);
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: 'not theirs' }));
      const uploads = [await unfinishedUpload(key)].map(() => key);
      const journal = new MemoryJournal();
      journal.notes = { archives: [{ key }], sessions: [] };
      const failure = await failureOf(runBackup(store, await tableOf(3), ['s'], { keyPrefix, journal }));
      expect(failure).toMatchObject({ code: 'NOT_AUTHENTIC', persistence: 'permanent' });
      expect(failure.sentence).toContain(key);
      expect(await whatIsThere(keyPrefix)).toEqual({ objects: [key], uploads });
    });
  });
});

test('an S3 server that does not answer is waited for, and then named', async () => {
  const { credentials } = servers.s3;
  const store = openStore({ endpoint: 'http://127.0.0.1:1', credentials }, { retryForMs: 1_000 });
  const failure = await failureOf(runBackup(store, 'postgres://127.0.0.1:1/never-asked', ['s']));
  expect(failure).toMatchObject({ code: 'STORE_UNREACHABLE', persistence: 'transient' });
  expect(failure.sentence).toMatch(
    /^Cannot reach the object store for the bucket archives: .*ECONNREFUSED.* Check S3_ENDPOINT/,
  );
  store.close();
  await sleep(0);
});
