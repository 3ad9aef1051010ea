process.env.THOROUGH = '1';

/** The sweeps of which `npm test` runs a sample, whole: `npm run test:long`. */
/** @type {import('jest').Config} */
module.exports = {
  ...require('./jest.config.cjs'),
  testMatch: [
    '<rootDir>/test/heart/**/*.spec.ts',
    '<rootDir>/apps/api/schedules/zones.spec.ts',
    '<rootDir>/test/e2e/{backup,clocks,daemon-list,dashboard,fuzz,http,monitoring,restore,schedules,workers}.spec.ts',
  ],
  testTimeout: 600_000,
};
