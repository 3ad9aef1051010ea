import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PATHS = [process.env['CHROMIUM_PATH'] ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser'];
const path = PATHS.find((path) => path !== '' && existsSync(path));

if (path === undefined && process.env['CI'] !== 'true')
  process.stdout.write(
    '\nNOT TESTED: there is no Chromium here. Install the package chromium, or set CHROMIUM_PATH.\n',
  );

/** For tests that need a real browser: left out where there is none, but for CI, which must have one. */
export const describeInBrowser =
  path === undefined && process.env['CI'] !== 'true' ? describe.skip : describe;

export function launchBrowser(): Promise<Browser> {
  if (path === undefined) throw new Error('There is no Chromium: install the package chromium.');
  // Chromium has no sandbox for root, and its shared memory is small in containers.
  return chromium.launch({ executablePath: path, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}
