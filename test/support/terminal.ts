import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { pollUntil } from '#common';

const run = promisify(execFile);

/** For tests at a terminal; skipped without tmux. */
export const describeAtTerminal = spawnSync('tmux', ['-V']).status === 0 ? describe : describe.skip;

/** A shell at a terminal. */
export class Terminal {
  /** A separate tmux server, with no settings or sessions of another. */
  private readonly socket = `snapshotd-test-${randomBytes(6).toString('hex')}`;

  private commands = 0;

  private constructor() {}

  /** @param env all variables of the shell */
  static async open(cwd: string, env: Record<string, string>): Promise<Terminal> {
    const terminal = new Terminal();
    const options = ['-f', '/dev/null', 'new-session', '-d', '-x', '110', '-y', '40', '-c', cwd];
    const shell = `exec env -i ${Object.entries(env)
      .map(([name, value]) => `${name}='${value}'`)
      .join(' ')} bash --norc --noprofile`;
    await terminal.tmux(...options, shell);
    await terminal.shows(/^\$$/);
    return terminal;
  }

  /** Types a line, and Enter. */
  async type(line: string): Promise<void> {
    await this.tmux('send-keys', '-l', line);
    await this.tmux('send-keys', 'Enter');
  }

  /** Types the beginning of a line, and Tab. */
  async tab(beginning: string): Promise<void> {
    await this.tmux('send-keys', '-l', beginning);
    await this.tmux('send-keys', 'Tab');
  }

  /** Presses a key, such as C-c. */
  async press(key: string): Promise<void> {
    await this.tmux('send-keys', key);
  }

  /** The visible text, without trailing spaces and empty lines. */
  async screen(): Promise<string> {
    return (await this.tmux('capture-pane', '-p', '-J')).trimEnd();
  }

  /** Waits until the screen matches and gives it. @throws Error with the screen if it does not */
  async shows(expected: RegExp): Promise<string> {
    let screen = '';
    const look = async () => expected.test((screen = await this.screen())) || undefined;
    if ((await pollUntil(look, { everyMs: 30, timeoutMs: 60_000 })) === undefined)
      throw new Error(`The terminal does not show ${expected}, but:\n${screen}`);
    return screen;
  }

  /** Runs a command in a cleared terminal and gives its output and exit code. */
  async ends(line: string): Promise<{ screen: string; code: number }> {
    await this.begin(line);
    return this.ended();
  }

  /** Starts a command in a cleared terminal; {@link ended} waits for it. */
  async begin(line: string): Promise<void> {
    this.commands++;
    await this.type('clear');
    // The output of the previous command must not be mistaken for this one's.
    await this.shows(/^\$$/);
    await this.type(`${line}; echo "command ${this.commands} ended with $?"`);
  }

  async ended(): Promise<{ screen: string; code: number }> {
    const end = new RegExp(`^command ${this.commands} ended with (\\d+)\n\\$`, 'm');
    const screen = await this.shows(end);
    return { screen, code: Number(end.exec(screen)?.[1]) };
  }

  /** Ends the shell and all that it runs. */
  async close(): Promise<void> {
    await this.tmux('kill-server');
  }

  private async tmux(...args: string[]): Promise<string> {
    const env = { PATH: process.env['PATH'], TERM: 'xterm', LANG: 'C.UTF-8' };
    return (await run('tmux', ['-L', this.socket, ...args], { env })).stdout;
  }
}
