import { parentPort, workerData } from 'node:worker_threads';
import { Failure } from '#contracts';
import { parseSummary } from './manifest.js';
import type { ParsedBeside } from './summary.js';

/** Parses a long manifest: nobody waits for that, and what a hostile one does to memory ends this thread alone. */
function run(): void {
  const answer = (parsed: ParsedBeside) => parentPort?.postMessage(parsed);
  try {
    answer({ summary: parseSummary(Buffer.from(workerData as Uint8Array).toString('utf8')) });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    answer({ message: error.message, hint: error.hint ?? '' });
  }
}

run();
