import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, ServerProcess } from './server-process.js';

const CONF = '/etc/swift/swift.conf';

/** Builds the rings that lead to the servers in one process of Debian's Python: swift-ring-builder takes nine. */
const BUILD_RINGS = `
import json, sys
from swift.common.ring import RingBuilder
for kind, port in json.loads(sys.argv[1]).items():
    builder = RingBuilder(4, 1, 0)
    builder.add_dev({'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': port, 'device': 'd1', 'weight': 1})
    builder.rebalance()
    builder.get_ring().save(kind + '.ring.gz')
`;

/** OpenStack Swift: an S3 server that checks signatures and rights, and can abort and list uploads. */
export class Swift {
  private constructor(
    readonly endpoint: string,
    private readonly processes: ServerProcess[],
  ) {}

  static readonly owner = { AWS_ACCESS_KEY_ID: 'test:tester', AWS_SECRET_ACCESS_KEY: 'testing' };
  /** May log in but not write. */
  static readonly reader = { AWS_ACCESS_KEY_ID: 'test:reader', AWS_SECRET_ACCESS_KEY: 'reading' };

  /** Whether Debian's packages are installed and this process is root, which the file in /etc needs. */
  static available(): boolean {
    const installed = spawnSync('sh', ['-c', 'command -v swift-proxy-server swift-object-server memcached'], {
      stdio: 'ignore',
    });
    return process.getuid?.() === 0 && installed.status === 0;
  }

  static async start(folder: string, buckets: string[]): Promise<Swift> {
    mkdirSync(join(folder, 'devices', 'd1'), { recursive: true });
    mkdirSync('/etc/swift', { recursive: true });
    // Swift reads this file only from /etc. An existing one works, too.
    if (!existsSync(CONF))
      writeFileSync(
        CONF,
        '[swift-hash]\nswift_hash_path_prefix = pre\nswift_hash_path_suffix = post\n' +
          '[storage-policy:0]\nname = gold\ndefault = yes\n[swift-constraints]\nmax_file_size = 5368709122\n',
      );
    const processes: ServerProcess[] = [];
    const run = async (name: string, command: string, args: string[]) => {
      const started = await ServerProcess.start({
        name,
        command,
        args,
        env: { ...process.env, PYTHONWARNINGS: 'ignore' },
        logFile: join(folder, `${name}.log`),
        pidFile: join(folder, `${name}.pid`),
        stopSignal: 'SIGKILL',
      });
      processes.push(started);
      return started;
    };
    const defaults = `swift_dir = ${folder}\nbind_ip = 127.0.0.1\nuser = root\nworkers = 0\nlog_statsd_host =\n`;
    const ports = { object: await freePort(), container: await freePort(), account: await freePort() };
    await promisify(execFile)('/usr/bin/python3', ['-c', BUILD_RINGS, JSON.stringify(ports)], {
      cwd: folder,
    });
    const startStorage = async ([kind, port]: [string, number]) => {
      const file = join(folder, `${kind}.conf`);
      writeFileSync(
        file,
        `[DEFAULT]\n${defaults}bind_port = ${port}\ndevices = ${folder}/devices\nmount_check = false\n` +
          `[pipeline:main]\npipeline = ${kind}-server\n[app:${kind}-server]\nuse = egg:swift#${kind}\n`,
      );
      const server = await run(`swift-${kind}`, `swift-${kind}-server`, [file]);
      await server.ready(() => fetch(`http://127.0.0.1:${port}/`));
    };
    // The proxy avoids a server for a minute after a few errors, so all must run before it.
    await Promise.all(Object.entries(ports).map(startStorage));
    const cachePort = await freePort();
    await run('memcached', 'memcached', ['-u', 'root', '-l', '127.0.0.1', '-p', String(cachePort)]);
    const port = await freePort();
    const filters = [
      'catch_errors',
      'gatekeeper',
      'proxy-logging',
      'cache',
      'listing_formats',
      's3api',
      'tempauth',
      'copy',
      'slo',
      'dlo',
    ];
    const options: Record<string, string> = {
      cache: `use = egg:swift#memcache\nmemcache_servers = 127.0.0.1:${cachePort}`,
      'proxy-logging': 'use = egg:swift#proxy_logging',
      s3api:
        'use = egg:swift#s3api\nlocation = us-east-1\nforce_swift_request_proxy_log = false\nmin_segment_size = 1048576',
      tempauth: 'use = egg:swift#tempauth\nuser_test_tester = testing .admin\nuser_test_reader = reading',
    };
    const proxy = join(folder, 'proxy.conf');
    writeFileSync(
      proxy,
      `[DEFAULT]\n${defaults}bind_port = ${port}\n[pipeline:main]\npipeline = ${filters.join(' ')} proxy-logging proxy-server\n` +
        '[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n' +
        filters.map((name) => `[filter:${name}]\n${options[name] ?? `use = egg:swift#${name}`}\n`).join(''),
    );
    const front = await run('swift-proxy', 'swift-proxy-server', [proxy]);
    const swift = new Swift(`http://127.0.0.1:${port}`, processes);
    for (const bucket of buckets) await front.ready(() => swift.createBucket(bucket));
    return swift;
  }

  /** Creates a bucket by Swift's protocol, which needs no S3 client. */
  private async createBucket(name: string): Promise<void> {
    const { AWS_ACCESS_KEY_ID: user, AWS_SECRET_ACCESS_KEY: key } = Swift.owner;
    const login = await fetch(`${this.endpoint}/auth/v1.0`, {
      headers: { 'X-Auth-User': user, 'X-Auth-Key': key },
    });
    const { status } = await fetch(`${login.headers.get('X-Storage-Url')}/${name}`, {
      method: 'PUT',
      headers: { 'X-Auth-Token': login.headers.get('X-Auth-Token') ?? '' },
    });
    if (status >= 300) throw new Error(`Creating the bucket ${name} answers ${status}`);
  }

  async stop(): Promise<void> {
    for (const process of this.processes.toReversed()) await process.stop();
  }
}
