import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** For tests that type; left out where there is no tmux. */
export const describeAtTerminal = spawnSync('tmux', ['-V']).status === 0 ? describe : describe.skip;

/** A shell at a terminal, as a person sees it. */
export class Terminal {
  /** A server of its own, so that no other one's settings or sessions come in. */
  private readonly socket = `snapshotd-test-${randomBytes(6).toString('hex')}`;

  private commands = 0;

  private constructor() {}

  /** @param env all that the shell knows */
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

  /** What can be seen, without blanks and empty lines at the end. */
  async screen(): Promise<string> {
    return (await this.tmux('capture-pane', '-p', '-J')).trimEnd();
  }

  /** Waits until a text can be seen, and gives all that can be. @throws Error with the screen when it does not come */
  async shows(expected: RegExp, within = 60_000): Promise<string> {
    const until = Date.now() + within;
    let screen = '';
    while (Date.now() < until) {
      screen = await this.screen();
      if (expected.test(screen)) return screen;
      await sleep(50);
    }
    throw new Error(`The terminal does not show ${expected}, but:\n${screen}`);
  }

  /** Runs a command to its end in a cleared terminal, and gives what it shows and its exit code. */
  async ends(line: string): Promise<{ screen: string; code: number }> {
    await this.begin(line);
    return this.ended();
  }

  /** Starts a command in a cleared terminal; {@link ended} waits for it. */
  async begin(line: string): Promise<void> {
    this.commands++;
    await this.type('clear');
    // What the command before has left there must not be taken for what this one shows.
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
