import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ServerProcess } from './server-process.js';

/**
 * Node frees large buffers only when it collects small objects, of which a worker makes few. This collects after each
 * megabyte of them instead of after 16.
 */
const OPTIONS_OF_NODE = { api: [], worker: ['--max-semi-space-size=1'] };

export interface AppOptions {
  app: 'api' | 'worker';
  /** Distinguishes several processes of one app; the app's name if missing. */
  name?: string;
  /** The folder of the build. */
  dist: string;
  /** The folder for its log. */
  folder: string;
  /** All of its settings: it inherits no others from the shell. */
  env: NodeJS.ProcessEnv;
}

/** Starts the API or a worker as a separate process, as in production. */
export async function startApp({ app, name = app, dist, folder, env }: AppOptions): Promise<ServerProcess> {
  mkdirSync(folder, { recursive: true });
  return ServerProcess.start({
    name: `The ${name}`,
    command: process.execPath,
    args: [...OPTIONS_OF_NODE[app], join(dist, 'apps', app, 'main.js')],
    env: {
      ...bareEnvironment(),
      NODE_NO_WARNINGS: '1',
      // Loading the code takes half of the start.
      NODE_COMPILE_CACHE: join(dist, 'compile-cache'),
      ...env,
    },
    logFile: join(folder, `${name}.log`),
    pidFile: join(folder, `${name}.pid`),
    stopSignal: 'SIGTERM',
  });
}

/** The variables that every program needs. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'TZ', 'SystemRoot'];
  return Object.fromEntries(
    names.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : [])),
  );
}

/** Waits until the API at this URL is ready. */
export async function apiReady(api: ServerProcess, url: string): Promise<void> {
  await api.ready(async () => {
    const { status } = await fetch(`${url}/health/ready`);
    if (status !== 200) throw new Error(`/health/ready answers ${status}`);
  });
}
