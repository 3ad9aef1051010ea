import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pollUntil, withTimeout } from '#common';

export interface ServerProcessOptions {
  /** The name for messages, such as "PostgreSQL". */
  name: string;
  command: string;
  args: string[];
  env?: NodeJS.ProcessEnv;
  /** Its standard input, for example a configuration with secrets that must not be in its arguments. */
  input?: string;
  /** The file for its output. */
  logFile: string;
  /** Records the process, so that a later run can end it after a crash. */
  pidFile: string;
  /** The user to run as; the present user if missing. */
  owner?: { uid: number; gid: number };
  stopSignal: NodeJS.Signals;
}

const STOP_WITHIN_MS = 15_000;
const KILL_WITHIN_MS = 5_000;

/**
 * A server as a child process. It has a separate process group, so that Ctrl-C at the terminal does not reach it: its
 * starter stops it in the right order.
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
    // Stops the server if this program ends without having stopped it.
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

  /** Resolves when the process has ended. @throws AbortError if the signal is aborted first */
  async ended(signal?: AbortSignal): Promise<void> {
    if (this.running) await once(this.child, 'exit', { signal });
  }

  /**
   * Waits until the probe succeeds.
   * @throws Error with the end of the log if the process ends or does not answer in time
   */
  async ready(probe: () => Promise<unknown>, withinMs = 30_000): Promise<void> {
    let cause: unknown;
    const look = async () => {
      if (!this.running) return 'ended at once';
      try {
        await probe();
        return 'ready';
      } catch (error) {
        cause = error;
        return undefined;
      }
    };
    const state = await pollUntil(look, { everyMs: 50, timeoutMs: withinMs });
    if (state === 'ready') return;
    await this.stop();
    throw this.failure(state ?? `did not answer within ${withinMs / 1000} s`, cause);
  }

  /** Waits until the log contains this. @throws Error with the end of the log if it does not in time */
  async logs(expected: string | RegExp, withinMs = 60_000): Promise<void> {
    const look = () => {
      const log = this.logTail(Infinity);
      return (typeof expected === 'string' ? log.includes(expected) : expected.test(log)) || undefined;
    };
    if ((await pollUntil(look, { everyMs: 20, timeoutMs: withinMs })) === undefined)
      throw this.failure(`did not log ${expected} within ${withinMs / 1000} s`);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.child.kill(signal);
  }

  /** Sends the stop signal, kills the process if it does not end in time, and resolves when it is gone. */
  async stop(): Promise<void> {
    this.signal(this.options.stopSignal);
    const late = () => new Error('it does not end');
    await withTimeout(STOP_WITHIN_MS, undefined, late, (signal) => this.ended(signal)).catch(() =>
      this.signal('SIGKILL'),
    );
    await this.ended();
    process.removeListener('exit', this.orphan);
    rmSync(this.options.pidFile, { force: true });
  }

  logTail(lines = 15): string {
    return readFileSync(this.options.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }

  private failure(what: string, cause?: unknown): Error {
    const { name, logFile } = this.options;
    return new Error(`${name} ${what}. ${logFile} ends with:\n${this.logTail()}`, { cause });
  }
}

/** Ends the process that a crashed run left behind. */
async function endLeftover({ name, pidFile, stopSignal }: ServerProcessOptions): Promise<void> {
  let left: { pid: number; began: string };
  try {
    left = JSON.parse(readFileSync(pidFile, 'utf8')) as typeof left;
  } catch {
    return; // The file is missing, or the crash truncated it.
  }
  // Another process may have the same id by now, but not the same start time.
  const lives = () => left.began !== '' && beginningOf(left.pid) === left.began;
  for (const signal of [stopSignal, 'SIGKILL'] as const) {
    if (!lives()) return;
    process.kill(left.pid, signal);
    await pollUntil(() => !lives() || undefined, { everyMs: 50, timeoutMs: KILL_WITHIN_MS });
  }
  if (lives())
    throw new Error(`${name} of an earlier run (process ${left.pid}) does not end. End it, then try again.`);
}

/**
 * Locks a folder for this process.
 * @returns a function that unlocks it
 * @throws Error if another running process has locked it
 */
export function claimFolder(folder: string): () => void {
  const file = join(folder, 'owner.json');
  try {
    const owner = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; began: string };
    if (owner.began !== '' && beginningOf(owner.pid) === owner.began)
      throw new FolderTaken(`${folder} is in use by process ${owner.pid}. Stop that process first.`);
  } catch (error) {
    if (error instanceof FolderTaken) throw error;
    // The file is missing, or a crash truncated it.
  }
  writeFileSync(file, JSON.stringify({ pid: process.pid, began: beginningOf(process.pid) }));
  return () => rmSync(file, { force: true });
}

class FolderTaken extends Error {}

/** The start time of a process in the system's format; '' if it does not exist. */
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

/** Finds a port of the loopback address that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
