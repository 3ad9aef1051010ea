import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PATHS = [process.env['CHROMIUM_PATH'] ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser'];

/** The path of Chromium on this machine; undefined if it is not installed. */
export const chromiumPath = PATHS.find((path) => path !== '' && existsSync(path));

/** Starts Chromium. @throws Error if it is not installed */
export function launchChromium(): Promise<Browser> {
  if (chromiumPath === undefined)
    throw new Error('Chromium is not installed. Install the package chromium, or set CHROMIUM_PATH.');
  // Chromium's sandbox does not work for root, and containers have little shared memory.
  return chromium.launch({
    executablePath: chromiumPath,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--font-render-hinting=none'],
  });
}
