/**
 * Starts a separate set of servers for each of jest's workers, so that files that run at the same time share none but
 * Swift. If a program is not installed, prints a line and skips its tests; in CI this is an error.
 */
const { spawnSync } = require('node:child_process');
const { existsSync, readdirSync } = require('node:fs');
const { join } = require('node:path');
const {
  EmbeddedPostgres,
  EmbeddedRedis,
  EmbeddedS3,
  Swift,
  throwAwayFolder,
} = require('../../dist/dev/index.js');
const { chromiumPath } = require('../../dist/tools/chromium.js');

const DEBIAN = '/usr/lib/postgresql';
/** Tests make hundreds of small databases: compiling queries and looking after each database cost more than the tests. */
const SETTINGS = { jit: 'off', autovacuum: 'off' };

module.exports = async ({ maxWorkers }) => {
  // Every server listens for the exit of this process.
  process.setMaxListeners(0);
  globalThis.testServers = [];
  const lacks = missing();
  for (const lack of lacks) process.stdout.write(`\nNOT TESTED: ${lack}\n`);
  if (lacks.length > 0 && process.env.CI) throw new Error(`CI needs all programs. ${lacks.join(' ')}`);

  // Jest's workers, and the programs that they start, compile the same code again and again.
  process.env.NODE_COMPILE_CACHE ??= join(__dirname, '../../dist/compile-cache');
  process.env.SEED ??= String(Date.now() % 1_000_000);
  if (process.env.THOROUGH !== '1') process.stdout.write(`\nSamples of sweeps: SEED=${process.env.SEED}\n`);

  // Swift takes six seconds of CPU time, and its tests keep to prefixes of their own: one serves all.
  const [swift, ...sets] = await Promise.all([
    Swift.available() ? startSwift() : undefined,
    ...Array.from({ length: maxWorkers }, startServers),
  ]);
  process.env.SNAPSHOTD_TEST_SERVERS = JSON.stringify(sets.map((servers) => ({ ...servers, swift })));
};

function missing() {
  return [
    EmbeddedRedis.available() || 'redis-server is not on PATH: the Redis queue.',
    existsSync(DEBIAN) || "Debian's postgresql is not installed: comparisons with pg_dump.",
    Swift.available() || 'OpenStack Swift is not installed, or this is not root: a real S3 server.',
    spawnSync('promtool', ['--version']).status === 0 ||
      'promtool is not on PATH: the alert rules. It comes with prometheus.',
    chromiumPath !== undefined || 'Chromium is not installed: the console in a browser.',
    spawnSync('fish', ['--version']).status === 0 || 'fish is not on PATH: its completion.',
    spawnSync('zsh', ['--version']).status === 0 || 'zsh is not on PATH: its completion.',
    spawnSync('tmux', ['-V']).status === 0 || 'tmux is not on PATH: the command line at a terminal.',
  ].filter((lack) => lack !== true);
}

/** Makes a folder for servers, which the teardown stops. */
function newSet() {
  const folder = throwAwayFolder();
  const running = [];
  globalThis.testServers.push({ folder, running });
  const start = async (server) => {
    running.push(await server);
    return running.at(-1);
  };
  return { folder, start };
}

async function startSwift() {
  const { folder, start } = newSet();
  const { endpoint } = await start(Swift.start(join(folder, 'swift'), ['archives']));
  return { endpoint, owner: Swift.owner, reader: Swift.reader };
}

async function startServers() {
  const { folder, start } = newSet();
  const postgres = await start(
    EmbeddedPostgres.start({ folder: join(folder, 'postgres'), durable: false, settings: SETTINGS }),
  );
  const s3Folder = join(folder, 's3');
  const s3 = await start(EmbeddedS3.start({ folder: s3Folder, bucket: 'archives' }));
  const servers = {
    folder,
    postgres: postgres.url(),
    s3: { endpoint: s3.endpoint, credentials: EmbeddedS3.credentials(s3Folder) },
  };

  if (EmbeddedRedis.available())
    servers.redis = (await start(EmbeddedRedis.start({ folder: join(folder, 'redis') }))).url;

  if (existsSync(DEBIAN)) {
    const [major] = readdirSync(DEBIAN).sort((a, b) => b - a);
    const binaries = join(DEBIAN, major, 'bin');
    const settings = { ...SETTINGS, max_connections: '60' };
    const debian = await start(
      EmbeddedPostgres.start({ folder: join(folder, 'debian'), durable: false, binaries, settings }),
    );
    servers.debianPostgres = { url: debian.url(), binaries };
  }

  return servers;
}
