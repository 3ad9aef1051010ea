import { formatDuration } from '#common';
import type { Findings } from './findings.js';

/** A difference from here on confuses people who compare times. Stores accept up to 15 minutes. */
const NOTABLE_MS = 5_000;

/** Compares the clock of another machine with the worker's. @param aheadMs how far the other one is ahead */
export function checkClock(findings: Findings, whose: string, aheadMs: number): void {
  const far = formatDuration(Math.abs(aheadMs));
  if (Math.abs(aheadMs) < NOTABLE_MS)
    findings.ok('clock', `The clocks of the worker and of ${whose} agree within 5 seconds.`);
  else
    findings.warning(
      'clock',
      `The clock of ${whose} is ${far} ${aheadMs > 0 ? 'ahead of' : 'behind'} the worker's. Set both by NTP.`,
    );
}
