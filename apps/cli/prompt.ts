import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Failure } from '#common';

/** Whether somebody sits there who can be asked. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

/** Asks at the terminal; stdout stays for results. @throws Failure INTERRUPTED */
export function ask(question: string): Promise<string> {
  return readLine(question, process.stderr);
}

/** Asks without showing what is typed. @throws Failure INTERRUPTED */
export async function askHidden(question: string): Promise<string> {
  // The terminal's own echo is off from here on, and readline's goes nowhere.
  const answer = readLine('', new Writable({ write: (_chunk, _encoding, done) => done() }));
  process.stderr.write(question);
  try {
    return await answer;
  } finally {
    process.stderr.write('\n');
  }
}

/** All of the standard input, without the line break at its end. */
export async function readInput(): Promise<string> {
  return (await text(process.stdin)).replace(/\r?\n$/, '');
}

async function readLine(question: string, output: NodeJS.WritableStream): Promise<string> {
  const line = createInterface({ input: process.stdin, output, terminal: true });
  const interrupted = new AbortController();
  line.once('SIGINT', () => interrupted.abort());
  // Ctrl-D
  line.once('close', () => interrupted.abort());
  try {
    return await line.question(question, { signal: interrupted.signal });
  } catch (cause) {
    if (!interrupted.signal.aborted) throw cause;
    if (output === process.stderr) process.stderr.write('\n');
    throw new Failure('INTERRUPTED', 'permanent', 'Nothing was done.', { cause });
  } finally {
    line.close();
  }
}
