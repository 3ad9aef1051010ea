import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { servers } from './servers.js';

const MAIN = resolve('bin', 'snapshotd.js');

export interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

interface RunOptions {
  input?: string;
  env?: Record<string, string>;
}

/** A running command and its output so far. */
export class RunningCommand {
  stderr = '';
  private readonly stdout: Promise<string>;
  private readonly exit: Promise<unknown>;

  constructor(readonly process: ChildProcess) {
    if (process.stdout === null || process.stderr === null) throw new Error('The command has no pipes');
    this.stdout = text(process.stdout);
    process.stderr.setEncoding('utf8').on('data', (more: string) => (this.stderr += more));
    this.exit = once(process, 'close');
  }

  async says(expected: RegExp): Promise<void> {
    const { stderr } = this.process;
    if (stderr === null) throw new Error('The command has no pipes');
    while (!expected.test(this.stderr)) {
      if (this.process.exitCode !== null)
        throw new Error(`The command ended without ${expected}: ${this.stderr}`);
      await Promise.race([once(stderr, 'data'), this.exit]);
    }
  }

  async ended(): Promise<Ended> {
    const stdout = await this.stdout;
    await this.exit;
    return { code: this.process.exitCode ?? -1, stdout, stderr: this.stderr };
  }
}

/** A user of the command line, with a separate home and working folder. */
export class CommandLine {
  readonly folder = join(servers.folder, `user-${randomBytes(4).toString('hex')}`);
  readonly home = join(this.folder, 'home');

  private readonly programs = join(this.folder, 'bin');

  constructor(private readonly env: Record<string, string> = {}) {
    mkdirSync(this.home, { recursive: true });
    mkdirSync(this.programs);
    const script = `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`;
    writeFileSync(join(this.programs, 'snapshotd'), script, { mode: 0o755 });
  }

  /** The variables of this user's shell, where `snapshotd` is on PATH. */
  get shellEnvironment(): Record<string, string> {
    return {
      PATH: `${this.programs}:${process.env['PATH']}`,
      HOME: this.home,
      TERM: 'xterm',
      LANG: 'C.UTF-8',
      PS1: '$ ',
      ...this.env,
    };
  }

  start(args: string[], { input, env }: RunOptions = {}): RunningCommand {
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: this.folder,
      env: {
        PATH: process.env['PATH'],
        HOME: this.home,
        NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
        ...this.env,
        ...env,
      },
      stdio: 'pipe',
    });
    child.stdin.end(input ?? '');
    return new RunningCommand(child);
  }

  /** Runs a command to its end, with its output in pipes. */
  run(args: string[], options: RunOptions = {}): Promise<Ended> {
    return this.start(args, options).ended();
  }

  /** Runs a command with --json and parses its output. @throws Error if its exit code is not 0 */
  async json<Document>(...args: string[]): Promise<Document> {
    const { code, stdout, stderr } = await this.run([...args, '--json']);
    if (code !== 0) throw new Error(`snapshotd ${args.join(' ')} ends with ${code}: ${stderr}`);
    return JSON.parse(stdout) as Document;
  }
}
