const { rmSync } = require('node:fs');

module.exports = async () => {
  const { folder, running } = globalThis.testServers;
  for (const server of running.reverse()) await server.stop();
  rmSync(folder, { recursive: true, force: true });
};
