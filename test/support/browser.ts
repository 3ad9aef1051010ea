import { chromiumPath } from '../../tools/chromium.js';

const isThere = chromiumPath !== undefined;

if (!isThere)
  process.stdout.write(
    '\nNOT TESTED: there is no Chromium here. Install the package chromium, or set CHROMIUM_PATH.\n',
  );

/** For tests that need a real browser: left out where there is none, but for CI, which must have one. */
export const describeInBrowser = isThere || process.env['CI'] === 'true' ? describe : describe.skip;
