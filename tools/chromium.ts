import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PATHS = [process.env['CHROMIUM_PATH'] ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser'];

/** The Chromium of this machine; undefined where there is none. */
export const chromiumPath = PATHS.find((path) => path !== '' && existsSync(path));

/** @throws Error where there is no Chromium */
export function launchChromium(): Promise<Browser> {
  if (chromiumPath === undefined)
    throw new Error('There is no Chromium here. Install the package chromium, or set CHROMIUM_PATH.');
  // Chromium has no sandbox for root, and its shared memory is small in containers.
  return chromium.launch({
    executablePath: chromiumPath,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--font-render-hinting=none'],
  });
}
