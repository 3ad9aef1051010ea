#!/usr/bin/env node
// What npx finds, also in a checkout that is not built yet.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const program = join(__dirname, '../dist/apps/cli/main.js');
if (existsSync(program)) require(program);
else {
  process.stderr.write('snapshotd: it is not built yet: run npm run build in the checkout.\n');
  process.exitCode = 1;
}
