const jestConfig = require('./jest.config.cjs');

process.env.THOROUGH = '1';

/** The faults that take minutes, and all of what `npm test` tries a part of: `npm run test:faults`. */
/** @type {import('jest').Config} */
module.exports = {
  ...jestConfig,
  testPathIgnorePatterns: ['/node_modules/'],
  testMatch: [
    '<rootDir>/test/{faults,heart}/**/*.spec.ts',
    '<rootDir>/apps/api/schedules/zones.spec.ts',
    '<rootDir>/test/e2e/{backup,clocks,daemon-list,dashboard,fuzz,monitoring,restore,schedules,workers}.spec.ts',
  ],
  // They measure and they wait: one at a time.
  maxWorkers: 1,
  testTimeout: 600_000,
};
