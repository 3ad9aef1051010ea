import { CommanderError } from 'commander';
import { errorSentence } from '#common';
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

let outputFailed = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of the output has read enough, as head does; how the command ends is told all the same.
  if (error.code === 'EPIPE' || outputFailed) return;
  outputFailed = true;
  process.stderr.write(`snapshotd: The output cannot be written: ${printable(errorSentence(error))}\n`);
  process.exitCode = 1;
});
process.stderr.on('error', () => undefined); // There is nobody to be told.

void run().then((code) => {
  process.exitCode = outputFailed ? 1 : code;
});
