import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ServerProcessOptions {
  /** For messages: "PostgreSQL". */
  name: string;
  command: string;
  args: string[];
  env?: NodeJS.ProcessEnv;
  /** What to write to its standard input, such as a configuration that must not show in a list of processes. */
  input?: string;
  /** Takes what it prints. */
  logFile: string;
  /** Remembers the process, so that a later run can end what a crashed one left. */
  pidFile: string;
  /** As whom to run; as the present user when missing. */
  owner?: { uid: number; gid: number };
  stopSignal: NodeJS.Signals;
}

const STOP_WITHIN_MS = 15_000;
const KILL_WITHIN_MS = 5_000;

/**
 * A server that runs beside this process. It has a process group of its own, so that a Ctrl-C at the terminal
 * does not reach it: its starter stops it, in the right order.
 */
export class ServerProcess {
  private constructor(
    private readonly options: ServerProcessOptions,
    private readonly child: ChildProcess,
  ) {}

  static async start(options: ServerProcessOptions): Promise<ServerProcess> {
    await endLeftover(options);
    const log = openSync(options.logFile, 'a', 0o600);
    const child = spawn(options.command, options.args, {
      detached: true,
      env: options.env ?? process.env,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', log, log],
      ...options.owner,
    });
    closeSync(log);
    await once(child, 'spawn');
    child.stdin?.end(options.input);
    writeFileSync(options.pidFile, JSON.stringify({ pid: child.pid, began: beginningOf(child.pid ?? 0) }));
    const server = new ServerProcess(options, child);
    // A program that ends without having stopped its servers must not leave them behind.
    process.once('exit', server.orphan);
    return server;
  }

  private readonly orphan = () => this.signal(this.options.stopSignal);

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves once the process has ended, whatever the reason. */
  async ended(): Promise<void> {
    if (this.running) await once(this.child, 'exit');
  }

  /**
   * Waits until the probe succeeds.
   * @throws Error with the end of the log when the server ends or stays away
   */
  async ready(probe: () => Promise<unknown>, withinMs = 30_000): Promise<void> {
    const deadline = Date.now() + withinMs;
    let reason: unknown;
    while (this.running && Date.now() < deadline) {
      try {
        await probe();
        return;
      } catch (error) {
        reason = error;
        await sleep(50);
      }
    }
    const state = this.running ? `did not answer within ${withinMs / 1000} s` : 'ended at once';
    await this.stop();
    throw new Error(`${this.options.name} ${state}. ${this.options.logFile} ends with:\n${this.logTail()}`, {
      cause: reason,
    });
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  /** Asks the process to end, kills it when it does not, and resolves when it is gone. */
  async stop(): Promise<void> {
    if (this.running) {
      this.signal(this.options.stopSignal);
      const late = new AbortController();
      await Promise.race([
        this.ended(),
        sleep(STOP_WITHIN_MS, undefined, { signal: late.signal }).catch(() => undefined),
      ]);
      late.abort();
      this.signal('SIGKILL');
      await this.ended();
    }
    process.removeListener('exit', this.orphan);
    rmSync(this.options.pidFile, { force: true });
  }

  logTail(lines = 15): string {
    return readFileSync(this.options.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }
}

/** Ends the process of a run that crashed, if it still lives and is really that one. */
async function endLeftover({ name, pidFile, stopSignal }: ServerProcessOptions): Promise<void> {
  let left: { pid: number; began: string };
  try {
    left = JSON.parse(readFileSync(pidFile, 'utf8')) as typeof left;
  } catch {
    return; // No file, or one that the crash cut short: nothing to go by.
  }
  // A process id may have gone to another process since; its beginning tells them apart.
  const lives = () => left.began !== '' && beginningOf(left.pid) === left.began;
  for (const signal of [stopSignal, 'SIGKILL'] as const) {
    if (!lives()) return;
    process.kill(left.pid, signal);
    for (const deadline = Date.now() + KILL_WITHIN_MS; lives() && Date.now() < deadline;) await sleep(50);
  }
  if (lives())
    throw new Error(`${name} of an earlier run (process ${left.pid}) does not end. End it, then try again.`);
}

/**
 * Makes a folder this process's own for as long as it lives.
 * @returns what gives it free again
 * @throws Error when another process has it that still lives
 */
export function claimFolder(folder: string): () => void {
  const file = join(folder, 'owner.json');
  try {
    const owner = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; began: string };
    if (owner.began !== '' && beginningOf(owner.pid) === owner.began)
      throw new FolderTaken(
        `${folder} is in use by process ${owner.pid}, which runs already. Stop it first.`,
      );
  } catch (error) {
    if (error instanceof FolderTaken) throw error;
    // No file, or one that a crash cut short: nobody has it.
  }
  writeFileSync(file, JSON.stringify({ pid: process.pid, began: beginningOf(process.pid) }));
  return () => rmSync(file, { force: true });
}

class FolderTaken extends Error {}

/** When a process began, in whatever unit the system tells it, or '' when there is none. */
function beginningOf(pid: number): string {
  try {
    if (process.platform !== 'linux')
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
    // proc(5): starttime is the 22nd field; the 2nd is in parentheses and may hold blanks.
    const [state, ...fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return state === 'Z' ? '' : (fields[18] ?? '');
  } catch {
    return '';
  }
}
