import { buffer } from 'node:stream/consumers';
import { Failure } from '#common';
import { invalid, parseSummary } from '../manifest.js';
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
    const { message, hint = '' } =
      error instanceof Failure ? error : invalid('its manifest.json cannot be parsed', error);
    return { message, hint };
  }
}

void main();
