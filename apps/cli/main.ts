import { CommanderError } from 'commander';
import { errorSentence } from '#common';
import { exitCodeOf } from './exit-codes.js';
import { printable } from './format.js';
import { snapshotd } from './program.js';

/** Runs the command and prints an error as one sentence. @returns the exit code */
async function run(): Promise<number> {
  try {
    await snapshotd().parseAsync();
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has printed the help, the version or the error.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`snapshotd: ${printable(errorSentence(error))}\n`);
    return exitCodeOf(error);
  }
}

let outputFailed = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // EPIPE: the reader has closed the pipe, as head does. The exit code stays that of the command.
  if (error.code === 'EPIPE' || outputFailed) return;
  outputFailed = true;
  process.stderr.write(`snapshotd: Cannot write the output: ${printable(errorSentence(error))}\n`);
  process.exitCode = 1;
});
process.stderr.on('error', () => undefined); // An error of stderr cannot be printed anywhere.

void run().then((code) => {
  process.exitCode = outputFailed ? 1 : code;
});
