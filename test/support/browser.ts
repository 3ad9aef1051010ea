import { chromiumPath } from '../../tools/chromium.js';

/** For tests in a browser; skipped without Chromium. */
export const describeInBrowser = chromiumPath === undefined ? describe.skip : describe;
