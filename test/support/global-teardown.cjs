const { rmSync } = require('node:fs');

module.exports = async () => {
  for (const { folder, running } of globalThis.testServers) {
    for (const server of running.reverse()) await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
};
