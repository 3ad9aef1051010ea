import { execFile } from 'node:child_process';
import { chmodSync, chownSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { generate } from 'selfsigned';
import { Session } from '#postgres';
import { OwnServer } from '../support/own-server.js';
import { servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

interface Identity {
  cert: string;
  key: string;
}

async function selfSigned(): Promise<Identity> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'a database' }], {
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] },
    ],
  });
  return { cert, key };
}

/** Backs up with the built heart, in a process that trusts what it is told to trust; prints the definitions' entry or why they are omitted. */
const BACKING_UP = `
  const { backup } = require('./dist/libs/engine');
  const { ObjectStore } = require('./dist/libs/storage');
  const { openArchive } = require('./dist/libs/archive');
  const { Secret } = require('./dist/libs/config');
  const [url, endpoint] = process.argv.slice(1);
  const signal = new AbortController().signal;
  const store = new ObjectStore({ bucket: 'archives', prefix: '', region: 'us-east-1', endpoint, forcePathStyle: true, checksums: 'when_required', retryForMs: 0, maxParts: 10_000, partBytes: 8 * 1024 * 1024 });
  let notes = { archives: [], sessions: [] };
  const journal = { report: () => {}, get notes() { return notes; }, note: async (change) => { notes = { ...notes, ...change }; }, isOvertaken: async () => false };
  backup({ daemonId: '1', version: '0', repository: { url: new Secret(url), scope: { schemas: ['s'], excludeSchemas: [], excludeTables: [], excludeTableRows: [] }, retryForMs: 0, lockTimeoutMs: 60000 }, store, keyPrefix: '', compressionLevel: 1, definitions: 'auto', parallelJobs: 1, journal, finishLater: () => {}, signal })
    .then(async ({ key }) => {
      const { manifest } = await openArchive(await store.open(key, signal));
      console.log(manifest.definitions?.name ?? manifest.leftOut[0].why);
      process.exit(0);
    }).catch((error) => { console.error(error); process.exit(1); });`;

async function backUp(url: string, env: Record<string, string>): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--no-warnings', '-e', BACKING_UP, url, servers.s3.endpoint],
    {
      env: {
        PATH: `${servers.debianPostgres?.binaries}:${process.env['PATH']}`,
        NODE_NO_WARNINGS: '1',
        ...servers.s3.credentials,
        ...env,
      },
    },
  ).catch((error: unknown) => ({ stdout: String(error) }));
  return stdout.trim();
}

/** Lets a backup's own two connections through to the server, and takes the server's place for those that follow. */
class Impostor {
  private readonly server: Server;
  private connections = 0;
  /** Everything that clients have sent. */
  readonly passwords: string[] = [];

  constructor(target: string, identity: Identity) {
    const { port } = new URL(target);
    this.server = createServer((client) => {
      client.on('error', () => undefined);
      if (++this.connections > 2) return this.deceive(client, identity);
      const server = connect(Number(port), '127.0.0.1').on('error', () => client.destroy());
      client.pipe(server).pipe(client);
    });
  }

  async listen(): Promise<number> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return (this.server.address() as AddressInfo).port;
  }

  /** How many clients took it for the server. */
  get deceived(): number {
    return Math.max(0, this.connections - 2);
  }

  close(): void {
    this.server.close();
  }

  private deceive(client: Socket, { cert, key }: Identity): void {
    client.once('data', () => {
      client.write('S'); // It speaks TLS, with another certificate.
      const secured = new TLSSocket(client, { isServer: true, cert, key }).on('error', () => undefined);
      secured.once('data', () => {
        secured.write(Buffer.from('5200000008' + '00000003', 'hex')); // AuthenticationCleartextPassword
        secured.once('data', (message: Buffer) => {
          this.passwords.push(message.toString());
          secured.destroy();
        });
      });
    });
  }
}

(servers.debianPostgres ? describe : describe.skip)('a server with TLS', () => {
  let server: OwnServer;
  let authority: string;

  beforeAll(async () => {
    const { cert, key } = await selfSigned();
    authority = join(servers.folder, 'authority.crt');
    const keyFile = join(servers.folder, 'database.key');
    writeFileSync(authority, cert);
    writeFileSync(keyFile, key);
    const { uid, gid } = statSync(join(servers.folder, 'debian', 'data'));
    chownSync(keyFile, uid, gid);
    chmodSync(keyFile, 0o600);
    server = await OwnServer.postgres({
      binaries: servers.debianPostgres?.binaries,
      settings: { ssl: 'on', ssl_cert_file: authority, ssl_key_file: keyFile },
    });
    await sql(server.url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int)');
  });
  afterAll(() => server.stop());

  test('the bundled pg_dump verifies the server as the worker does; its password goes to nobody', async () => {
    const impostor = new Impostor(server.url, await selfSigned());
    const port = await impostor.listen();
    const through = (query: string) => {
      const url = new URL(server.url);
      url.port = String(port);
      return `${url.href}?${query}`;
    };
    // The worker trusts the authority as one of Node's: libpq before version 16 knows no such list.
    const said = await backUp(through('sslmode=verify-full'), { NODE_EXTRA_CA_CERTS: authority });
    expect(impostor.passwords).toEqual([]);
    expect(said).toMatch(
      /^tables, indexes and functions are not included: pg_dump cannot connect: Cannot connect to PostgreSQL at \S+ by TLS: the certificate cannot be verified/,
    );
    impostor.close();
  });

  test('where it can, it finds an impostor out', async () => {
    const impostor = new Impostor(server.url, await selfSigned());
    const url = new URL(`${server.url}?sslmode=require&sslrootcert=${authority}`);
    url.port = String(await impostor.listen());
    expect(await backUp(url.href, {})).toMatch(/certificate verify failed/);
    expect(impostor.passwords).toEqual([]);
    expect(impostor.deceived).toBe(1);
    impostor.close();
  });

  test('a connection that TLS refuses fails at once, and says what to set', async () => {
    const refused = async (url: string, fault: RegExp, hint: RegExp) => {
      const error: unknown = await Session.open(url, { applicationName: 'one' }).catch(
        (reason: unknown) => reason,
      );
      expect(error).toMatchObject({
        code: 'DATABASE_TLS_REFUSED',
        persistence: 'permanent',
        message: expect.stringMatching(fault) as string,
        hint: expect.stringMatching(hint) as string,
      });
    };
    const remedies = /sslrootcert=.*NODE_EXTRA_CA_CERTS.*sslmode=no-verify/;
    for (const mode of ['prefer', 'require', 'verify-full'])
      await refused(
        `${server.url}?sslmode=${mode}`,
        /the certificate cannot be verified \(DEPTH_ZERO_SELF_SIGNED_CERT/,
        remedies,
      );
    const elsewhere = server.url.replace('127.0.0.1', 'localhost');
    await refused(
      `${elsewhere}?sslmode=require&sslrootcert=${authority}`,
      /ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH/,
      remedies,
    );
    await refused(
      `${server.url}?sslrootcert=/nowhere.crt`,
      /the file \/nowhere\.crt cannot be read \(ENOENT\)/,
      /Check sslrootcert/,
    );
    // One without TLS, which psql uses in the clear.
    await refused(`${servers.postgres}?sslmode=prefer`, /the server has no TLS/, /sslmode=disable/);

    const stack = await Stack.start({
      workers: 0,
      wait: false,
      env: { DATABASE_URL: `${server.url}?sslmode=require`, QUEUE_URL: servers.postgres },
    });
    await stack.api.logs('Waiting for the database');
    expect(stack.api.logTail(100)).toMatch(remedies);
    await stack.stop();
  });

  test.each([
    ['a separate authority', (query: string) => `?sslmode=verify-full&sslrootcert=${query}`],
    ['no verification, as the worker has none', () => '?sslmode=no-verify'],
    ['no TLS, as the worker has none', () => ''],
    ["an authority of Node's, which the bundled one takes", () => '?sslmode=verify-full'],
  ])('with %s it reads the definitions, whatever variables the worker has', async (_what, query) => {
    const variables = {
      PGHOSTADDR: '192.0.2.1',
      PGSSLROOTCERT: '/nonexistent',
      PGSERVICE: 'nowhere',
      NODE_EXTRA_CA_CERTS: authority,
    };
    expect(await backUp(server.url + query(authority), variables)).toBe('schema.sql');
  });
});

test('API and worker say at start which connections would be in the clear', async () => {
  const stack = await Stack.start({
    env: { REPOSITORY_URL: 'postgres://someone:hidden@db.invalid/app' },
  });
  const warning =
    '"level":40,.*"msg":"REPOSITORY_URL leads to db.invalid and has no sslmode: passwords and data travel unencrypted';
  const [worker] = stack.workers;
  await worker?.logs('The worker takes jobs');
  expect(worker?.logTail(100)).toMatch(new RegExp(warning));
  expect(stack.api.logTail(100)).toMatch(new RegExp(warning));
  expect(stack.logs()).not.toMatch(/hidden|DATABASE_URL leads/);
  await stack.stop();
});
