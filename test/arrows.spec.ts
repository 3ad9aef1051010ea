import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** A file, and a line of code that is to be tried in it. */
type Case = [file: string, code: string];

const FORBIDDEN: Case[] = [
  ['libs/archive/new.ts', "import { DaemonQueue } from '#queue';"],
  ['libs/archive/new.ts', "import type { Session } from '#postgres';"],
  ['libs/storage/new.ts', "export * from '#archive';"],
  ['libs/storage/new.ts', "import { part } from '../engine/index.js';"],
  ['libs/database/accounts/new.ts', "import { Journal } from '../../engine/index.js';"],
  ['libs/postgres/new.ts', "import { Injectable } from '@nestjs/common';"],
  ['libs/engine/new.ts', "import { DataSource } from 'typeorm';"],
  ['libs/engine/new.ts', "import type { Job } from 'bullmq';"],
  ['libs/engine/new.ts', "import { DaemonQueue } from '#queue';"],
  ['libs/engine/new.ts', "const queue = await import('#queue');"],
  ['libs/engine/new.ts', "let queue: import('#queue').DaemonQueue;"],
  ['libs/queue/new.ts', "import { DaemonRunner } from '../../apps/worker/daemon-runner.js';"],
  ['libs/queue/new.ts', "import { backup } from '#engine';"],
  ['libs/config/new.ts', "import { Failure } from '#common';"],
  ['libs/contracts/new.ts', "import { readFileSync } from 'node:fs';"],
  ['libs/contracts/new.ts', "import { z } from 'zod';"],
  ['libs/contracts/new.ts', "import { Secret } from '#config';"],
  ['libs/contracts/schemas/new.ts', "import { Secret } from '#config';"],
  ['libs/contracts/schemas/new.ts', "import { rm } from 'node:fs/promises';"],
  ['libs/contracts/new.ts', 'export const double = (rows: number) => 2 * rows;'],
  ['dev/new.ts', "import { ObjectStore } from '#storage';"],
  ['libs/common/new.ts', "import { Injectable } from '@nestjs/common';"],
  ['libs/logging/new.ts', "import { startServers } from '../../dev/index.js';"],
  ['libs/logging/new.ts', "const level = process.env['LOG_LEVEL'];"],
  ['apps/api/new.ts', "import { startServers } from '../../dev/index.js';"],
  ['apps/api/new.ts', "import { DaemonRunner } from '../worker/daemon-runner.js';"],
  ['apps/api/auth/new.ts', "import { DaemonRunner } from '../../worker/daemon-runner.js';"],
  ['apps/api/daemons/new.ts', "import type { Queue } from 'bullmq';"],
  ['apps/api/health/new.ts', "import { S3Client } from '@aws-sdk/client-s3';"],
  ['apps/api/health/new.ts', 'const { env } = process;'],
  ['apps/api/health/new.ts', "import { env } from 'node:process';"],
  ['apps/cli/commands/new.ts', "import { ensureHome } from '#config';"],
  ['apps/cli/commands/new.ts', "import { z } from 'zod';"],
  ['apps/cli/commands/new.ts', "import { archive } from '#contracts/schemas';"],
  ['apps/cli/commands/new.ts', 'const { SNAPSHOTD_TOKEN } = process.env;'],
  ['apps/cli/commands/recover.ts', "import { recover } from '#engine';"],
  ['apps/cli/commands/recover.ts', "import { recoverArchive } from '../recover/recover-archive.js';"],
  ['apps/cli/commands/recover.ts', "const engine = await import('#engine');"],
  ['apps/cli/recover/new.ts', "import { DaemonQueue } from '#queue';"],
  ['apps/cli/recover/new.ts', "import { Context } from '../context.js';"],
  ['apps/cli/new.ts', "import { startServers } from '../../tools/start.js';"],
  ['apps/api/new.ts', "import { Command } from 'commander';"],
  ['apps/worker/new.ts', "import { Session } from '#postgres';"],
  ['apps/worker/new.ts', "import { openArchive } from '#archive';"],
  ['apps/worker/new.ts', "import { WorkerHost } from '@nestjs/bullmq';"],
];

const ALLOWED: Case[] = [
  ['libs/archive/new.ts', "import { Failure } from '#common';"],
  ['libs/archive/new.ts', "import { manifest } from './manifest.js';"],
  ['libs/engine/new.ts', "import { Session } from '#postgres';"],
  ['libs/storage/new.ts', "import { S3Client } from '@aws-sdk/client-s3';"],
  ['libs/queue/new.ts', "import { Queue } from 'bullmq';"],
  ['libs/database/accounts/new.ts', "import { openDatabase } from '../data-source.js';"],
  ['libs/config/new.ts', "const level = process.env['LOG_LEVEL'];"],
  ['apps/api/auth/new.ts', "import { Reason } from '../http/reason.js';"],
  ['apps/api/auth/new.ts', "import { archive } from '#contracts/schemas';"],
  ['libs/contracts/schemas/new.ts', "import { z } from 'zod';"],
  ['apps/api/dashboard/new.ts', "import { createBullBoard } from '@bull-board/api';"],
  ['apps/cli/commands/new.ts', "import { Command } from 'commander';"],
  ['apps/cli/commands/new.ts', "import { Failure } from '#common';"],
  ['apps/cli/commands/new.ts', "import { Context } from '../context.js';"],
  ['apps/cli/commands/new.ts', "import { rm } from 'node:fs/promises';"],
  ['apps/cli/commands/recover.ts', "const engine = await import('../recover/recover-archive.js');"],
  ['apps/cli/commands/recover.ts', "import type { RecoverReport } from '../recover/recover-archive.js';"],
  ['apps/cli/recover/new.ts', "import { recover } from '#engine';"],
  ['apps/cli/environment.ts', 'const { SNAPSHOTD_TOKEN } = process.env;'],
  ['apps/worker/daemon.processor.ts', "import { WorkerHost } from '@nestjs/bullmq';"],
  ['libs/archive/new.spec.ts', "import { DaemonQueue } from '#queue';"],
  ['dev/new.ts', "import { pollUntil } from '#common';"],
  ['tools/new.ts', "import { startServers } from '../dev/index.js';"],
  ['test/new.ts', "import { S3Client } from '@aws-sdk/client-s3';"],
];

const ROOT = join(__dirname, '..');
const PARTS = ['apps', 'libs'].flatMap((folder) =>
  readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`),
);
const NOWHERE: Case[] = PARTS.map((part) => [`${part}/new.ts`, "import { thing } from '#nowhere';"]);

/**
 * Lints every case with the rules that hold the arrows, and gives what they say. ESLint loads its configuration
 * with import(), which Jest's sandbox does not have: hence a separate process. These rules need no types, so
 * that the files need not exist.
 */
function lint(cases: Case[]): string[][] {
  const script = `
    const { ESLint } = require('eslint');
    const eslint = new ESLint({
      overrideConfig: { languageOptions: { parserOptions: { projectService: false } } },
      ruleFilter: ({ ruleId }) => ruleId.startsWith('no-restricted-'),
    });
    const cases = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
    Promise.all(cases.map(([filePath, code]) => eslint.lintText(code, { filePath }))).then((results) =>
      console.log(JSON.stringify(results.map(([{ messages }]) => messages.map(({ ruleId, message }) => ruleId + ': ' + message)))));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script], {
    cwd: ROOT,
    input: JSON.stringify(cases),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as string[][];
}

const messages = new Map<Case, string[]>();
beforeAll(() => {
  const cases = [...FORBIDDEN, ...ALLOWED, ...NOWHERE];
  lint(cases).forEach((found, index) => messages.set(cases[index] as Case, found));
});

describe('the lint rules refuse', () => {
  test.each(FORBIDDEN.map((one) => [...one, one] as const))('in %s: %s', (_file, _code, one) => {
    expect(messages.get(one)).toEqual([
      expect.stringMatching(/^no-restricted-(imports|properties|syntax): /),
    ]);
  });
});

describe('the lint rules allow', () => {
  test.each(ALLOWED.map((one) => [...one, one] as const))('in %s: %s', (_file, _code, one) => {
    expect(messages.get(one)).toEqual([]);
  });
});

test.each(NOWHERE.map((one) => [one[0], one] as const))('the arrows cover %s', (_file, one) => {
  expect(messages.get(one)).toEqual([expect.stringContaining('may import')]);
});
