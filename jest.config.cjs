/** All tests but those that take minutes: `npm test`. */
/** @type {import('jest').Config} */
module.exports = {
  ...require('./jest.unit.config.cjs'),
  testMatch: ['<rootDir>/{apps,libs,dev,test,tools}/**/*.spec.ts'],
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/faults/'],
  globalSetup: '<rootDir>/test/support/global-setup.cjs',
  globalTeardown: '<rootDir>/test/support/global-teardown.cjs',
  testSequencer: '<rootDir>/test/support/longest-first.cjs',
  // Each has servers of its own. Tests wait for a part of their time, so four keep two cores busy.
  maxWorkers: 4,
  // A test that hangs fails; a test on a slow machine must not.
  testTimeout: 180_000,
  // A failed test may leave a process behind; the run must end nevertheless.
  forceExit: true,
};
