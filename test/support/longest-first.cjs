const { basename } = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/** The files that take longest. They start first, so that none of them runs alone at the end. */
const LONG = [
  'cli',
  'console',
  'restore',
  'workers',
  'schedules',
  'definitions',
  'any-database',
  'backup',
  'failures',
  'disturbances',
  'clocks',
  'fuzz',
  'archives',
  'demo',
  'compose',
  'logins',
  'cases',
  'parallel-sessions',
  'planning',
  'alerts',
];

/** Orders files by their length: the names above, then as Jest does. */
module.exports = class LongestFirst extends Sequencer {
  async sort(tests) {
    const rank = ({ path }) => {
      const place = LONG.indexOf(basename(path, '.spec.ts'));
      return place < 0 ? LONG.length : place;
    };
    return (await super.sort(tests)).toSorted((one, other) => rank(one) - rank(other));
  }
};
