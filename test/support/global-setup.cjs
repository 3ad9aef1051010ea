/**
 * Starts the servers of the tests, once, and a set of its own for each of jest's workers: files that run at the same
 * time share none. What a machine lacks is said in a visible line and its tests are left out; in CI a lack is a
 * failure.
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

module.exports = async ({ maxWorkers }) => {
  // Every server wants to hear of this process's exit.
  process.setMaxListeners(0);
  globalThis.testServers = [];
  const lacks = missing();
  for (const lack of lacks) process.stdout.write(`\nNOT TESTED: ${lack}\n`);
  if (lacks.length > 0 && process.env.CI) throw new Error(`CI must have it all. ${lacks.join(' ')}`);

  const sets = await Promise.all(Array.from({ length: maxWorkers }, startServers));
  process.env.SNAPSHOTD_TEST_SERVERS = JSON.stringify(sets);
};

function missing() {
  return [
    EmbeddedRedis.available() || 'redis-server is not on PATH: nothing runs on the Redis queue.',
    existsSync(DEBIAN) || "Debian's postgresql is not installed: nothing is compared with pg_dump.",
    Swift.available() ||
      'OpenStack Swift is not installed, or this is not root: nothing is shown on a real S3 server.',
    spawnSync('promtool', ['--version']).status === 0 ||
      'promtool is not on PATH: nobody judges the alert rules. It comes with prometheus.',
    chromiumPath !== undefined || 'Chromium is not installed: nothing is looked at in a browser.',
    spawnSync('fish', ['--version']).status === 0 || 'fish is not on PATH: it completes nothing.',
    spawnSync('zsh', ['--version']).status === 0 || 'zsh is not on PATH: it reads no script.',
    spawnSync('tmux', ['-V']).status === 0 || 'tmux is not on PATH: nothing is typed at a terminal.',
  ].filter((lack) => lack !== true);
}

async function startServers() {
  const folder = throwAwayFolder();
  const running = [];
  globalThis.testServers.push({ folder, running });
  const start = async (server) => {
    running.push(await server);
    return running.at(-1);
  };

  // It takes the longest, and waits for most of that.
  const swiftStarting = Swift.available()
    ? start(Swift.start(join(folder, 'swift'), ['archives']))
    : undefined;
  const postgres = await start(EmbeddedPostgres.start({ folder: join(folder, 'postgres'), durable: false }));
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
    const settings = { max_connections: '60' };
    const debian = await start(
      EmbeddedPostgres.start({ folder: join(folder, 'debian'), durable: false, binaries, settings }),
    );
    servers.debianPostgres = { url: debian.url(), binaries };
  }

  if (swiftStarting !== undefined) {
    const swift = await swiftStarting;
    servers.swift = { endpoint: swift.endpoint, owner: Swift.owner, reader: Swift.reader };
  }
  return servers;
}
