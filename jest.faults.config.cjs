/** The faults that take minutes: `npm run test:faults`. */
/** @type {import('jest').Config} */
module.exports = {
  ...require('./jest.config.cjs'),
  testPathIgnorePatterns: ['/node_modules/'],
  testMatch: ['<rootDir>/test/faults/**/*.spec.ts'],
  // They measure and they wait: one at a time.
  maxWorkers: 1,
  testTimeout: 600_000,
};
