/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript', decorators: true }, target: 'es2023' },
        module: { type: 'commonjs' },
      },
    ],
  },
  moduleNameMapper: {
    '^#(\\w+)$': '<rootDir>/libs/$1',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  testMatch: ['<rootDir>/{apps,libs,test,tools}/**/*.spec.ts'],
  // Those that take minutes have a configuration of their own.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/faults/'],
  globalSetup: '<rootDir>/test/support/global-setup.cjs',
  globalTeardown: '<rootDir>/test/support/global-teardown.cjs',
  // Each has servers of its own.
  maxWorkers: 2,
  // What hangs fails; what is slow on a slow machine must not.
  testTimeout: 180_000,
  // A failed test may leave a process behind; the run must end all the same.
  forceExit: true,
  reporters: ['default', '<rootDir>/test/support/tally-reporter.cjs'],
};
