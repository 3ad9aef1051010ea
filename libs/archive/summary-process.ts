import { buffer } from 'node:stream/consumers';
import { Failure } from '#contracts';
import { parseSummary } from './manifest.js';
import type { ParsedBeside } from './summary.js';

/** A process that parses the manifest at its standard input: whatever a hostile one takes, it can be ended. */
async function main(): Promise<void> {
  const text = (await buffer(process.stdin)).toString('utf8');
  process.stdout.write(JSON.stringify(parsed(text)));
}

function parsed(text: string): ParsedBeside {
  try {
    return { summary: parseSummary(text) };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { message: error.message, hint: error.hint ?? '' };
  }
}

void main();
