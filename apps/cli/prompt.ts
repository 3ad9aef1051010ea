import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Failure } from '#common';

/** Whether there is a terminal to ask at. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

/** Asks at the terminal, through stderr: stdout is for results. @throws Failure INTERRUPTED */
export function ask(question: string): Promise<string> {
  return readLine(question, process.stderr);
}

/** Asks without showing the answer. @throws Failure INTERRUPTED */
export async function askHidden(question: string): Promise<string> {
  // readline turns the terminal's echo off; its own output is discarded.
  const answer = readLine('', new Writable({ write: (_chunk, _encoding, done) => done() }));
  process.stderr.write(question);
  try {
    return await answer;
  } finally {
    process.stderr.write('\n');
  }
}

/**
 * Asks the user to type a name.
 * @param what the thing that has the name
 * @param warning says what will happen, without and with the name
 * @throws Failure USAGE_WRONG if there is no terminal, NOT_CONFIRMED, INTERRUPTED
 */
export async function confirmName(
  name: string,
  what: 'archive' | 'database' | 'repository',
  warning: { short: string; full: string; nothing: string },
): Promise<void> {
  if (!canAsk())
    throw new Failure('USAGE_WRONG', 'permanent', warning.short, {
      hint: 'Without a terminal to confirm at, it needs --yes.',
    });
  process.stderr.write(`${warning.full}\n`);
  const answer = await ask(`Type the ${what}'s name to confirm: `);
  if (answer.trim() !== name)
    throw new Failure('NOT_CONFIRMED', 'permanent', `That is not the ${what}'s name. ${warning.nothing}`);
}

/** Reads stdin to its end, without the last line break. */
export async function readInput(): Promise<string> {
  return (await text(process.stdin)).replace(/\r?\n$/, '');
}

async function readLine(question: string, output: NodeJS.WritableStream): Promise<string> {
  const line = createInterface({ input: process.stdin, output, terminal: true });
  const interrupted = new AbortController();
  line.once('SIGINT', () => interrupted.abort());
  line.once('close', () => interrupted.abort()); // Ctrl-D
  try {
    return await line.question(question, { signal: interrupted.signal });
  } catch (cause) {
    if (!interrupted.signal.aborted) throw cause;
    if (output === process.stderr) process.stderr.write('\n');
    throw new Failure('INTERRUPTED', 'permanent', 'Interrupted. Nothing was done.', { cause });
  } finally {
    line.close();
  }
}
