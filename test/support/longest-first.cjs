const { basename } = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/** The files that take longest. They start first, so that none of them runs alone at the end. */
const LONG = [
  'cli',
  'console',
  'recover-anything',
  'apply',
  'definitions',
  'restore',
  'workers',
  'backup',
  'recover',
  'any-database',
  'planning',
  'violations',
  'schedules',
  'parallel-sessions',
  'disturbances',
  'compose',
  'demo',
  'guide',
  'recover-attempts',
  'failures',
  'fuzz',
  'large-objects',
  'search-path',
  'archive-order',
  'swap',
  'logins',
  'hostile-names',
  'odd-databases',
  'forged-queue',
  'restore-attempts',
  'alerts',
  'pruning',
  'http',
  'cases',
  'archives',
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
