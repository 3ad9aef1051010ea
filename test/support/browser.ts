import { chromiumPath } from '../../tools/chromium.js';

/** For tests that need a real browser; left out where there is none. */
export const describeInBrowser = chromiumPath === undefined ? describe.skip : describe;
