/** The specs beside the code start no server and need no build: `npm run test:unit`. */
/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  // Package imports such as #common lead to the sources: see "imports" in package.json.
  testEnvironmentOptions: { customExportConditions: ['source', 'node', 'node-addons'] },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript', decorators: true }, target: 'es2023' },
        module: { type: 'commonjs' },
      },
    ],
  },
  // The sources name the file that the compiler writes.
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  testMatch: ['<rootDir>/{apps,libs,dev,tools}/**/*.spec.ts'],
  // A test that hangs fails; a test on a slow machine must not.
  testTimeout: 60_000,
  reporters: ['default', '<rootDir>/test/support/tally-reporter.cjs'],
};
