/** Copies the console's pages and assets to the build, which the compiler does not do. */
const { cpSync } = require('node:fs');
const { join } = require('node:path');

const built = join(__dirname, '../../../dist/apps/api/console');
for (const folder of ['views', 'assets'])
  cpSync(join(__dirname, folder), join(built, folder), { recursive: true });
