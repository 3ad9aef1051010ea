#!/usr/bin/env node
import { CommanderError } from 'commander';
import { errorSentence } from '#contracts';
import { exitCodeOf } from './exit-codes.js';
import { printable } from './format.js';
import { snapshotd } from './program.js';

/** @returns the exit code; what went wrong is said in one sentence */
async function run(): Promise<number> {
  try {
    await snapshotd().parseAsync();
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // It has been said already: help, the version, or what is wrong with the command.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`snapshotd: ${printable(errorSentence(error))}\n`);
    return exitCodeOf(error);
  }
}

// Whoever reads the output has read enough: as with head.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

void run().then((code) => {
  process.exitCode = code;
});
