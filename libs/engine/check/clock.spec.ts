import { checkClock } from './clock.js';
import { Findings } from './findings.js';

test.each([
  [4_900, 'ok', 'The clocks of the worker and of PostgreSQL agree within 5 seconds.'],
  [-90_000, 'warning', "The clock of PostgreSQL is 1 min 30 s behind the worker's. Set both by NTP."],
  [7_000, 'warning', "The clock of PostgreSQL is 7 s ahead of the worker's. Set both by NTP."],
])('a clock that is %i ms ahead', (aheadMs, level, message) => {
  const findings = new Findings();
  checkClock(findings, 'PostgreSQL', aheadMs);
  expect(findings.all).toEqual([{ kind: 'clock', level, message, statements: [] }]);
});
