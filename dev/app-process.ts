import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ServerProcess } from './server-process.js';

/**
 * Node frees large buffers when it looks for garbage among small objects, of which a worker makes few: it is to look
 * after every megabyte of them, in place of sixteen.
 */
const OPTIONS_OF_NODE = { api: [], worker: ['--max-semi-space-size=1'] };

export interface AppOptions {
  app: 'api' | 'worker';
  /** Tells several of one app apart; the app's own name when missing. */
  name?: string;
  /** The folder that the build wrote. */
  dist: string;
  /** Where its log goes. */
  folder: string;
  /** All of its settings: nothing else is inherited, so that no variable of a shell leads it astray. */
  env: NodeJS.ProcessEnv;
}

/** Starts the API or a worker as it runs in production: a process of its own. */
export async function startApp({ app, name = app, dist, folder, env }: AppOptions): Promise<ServerProcess> {
  mkdirSync(folder, { recursive: true });
  return ServerProcess.start({
    name: `The ${name}`,
    command: process.execPath,
    args: [...OPTIONS_OF_NODE[app], join(dist, 'apps', app, 'main.js')],
    env: { ...bareEnvironment(), NODE_NO_WARNINGS: '1', ...env },
    logFile: join(folder, `${name}.log`),
    pidFile: join(folder, `${name}.pid`),
    stopSignal: 'SIGTERM',
  });
}

/** What a program needs to run at all. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'TZ', 'SystemRoot'];
  return Object.fromEntries(
    names.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : [])),
  );
}

/** Waits until an API at this address is ready for work. */
export async function apiReady(api: ServerProcess, url: string): Promise<void> {
  await api.ready(async () => {
    const { status } = await fetch(`${url}/health/ready`);
    if (status !== 200) throw new Error(`/health/ready answers ${status}`);
  });
}
