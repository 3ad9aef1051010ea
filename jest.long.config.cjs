const { readdirSync, readFileSync } = require('node:fs');
const { join } = require('node:path');

process.env.THOROUGH = '1';

/** What a spec has that runs as a sample otherwise. */
const SAMPLED =
  /import {[^}]*\b(sample|shareOf|oneOf|thorough|seed)\b[^}]*} from '[./]+\/support\/servers\.js'|env\['THOROUGH'\]/;

const specs = ['apps', 'libs', 'test'].flatMap((folder) =>
  readdirSync(join(__dirname, folder), { recursive: true })
    .filter((name) => name.endsWith('.spec.ts'))
    .map((name) => join(folder, name)),
);

/** The sweeps of which `npm test` runs a sample, whole: `npm run test:long`. */
/** @type {import('jest').Config} */
module.exports = {
  ...require('./jest.config.cjs'),
  testMatch: specs
    .filter((file) => SAMPLED.test(readFileSync(join(__dirname, file), 'utf8')))
    .map((file) => `<rootDir>/${file}`),
  testTimeout: 600_000,
};
