#!/usr/bin/env node
// The entry of npx. It also runs in a checkout that is not built yet.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const program = join(__dirname, '../dist/apps/cli/main.js');
if (existsSync(program)) require(program);
else {
  process.stderr.write('snapshotd: This checkout is not built yet. Run: npm run build\n');
  process.exitCode = 1;
}
