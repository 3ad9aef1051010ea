import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Failure } from '#common';

/** A program of its own: the tools may use what the apps may not. */
const TOOL = join(__dirname, '../../../tools/start.js');

export function addStartCommand(program: Command): void {
  program
    .command('start')
    .description(
      'run the API, a worker and the servers that are missing, on .data/ of this folder, until Ctrl-C',
    )
    .option('--no-worker', 'start no worker, and print what one of your own needs')
    .action(start)
    .addHelpText(
      'after',
      `
This is what npm start does, for a first look and for development. In production the API and the workers run by
themselves: see README.md.

Examples:
  snapshotd start
  PORT=9090 snapshotd start`,
    );
}

async function start({ worker }: { worker: boolean }): Promise<void> {
  if (!existsSync(TOOL))
    throw new Failure('FILE_REFUSED', 'permanent', 'This installation holds no servers to start.', {
      hint: 'Run npm ci && npm run build in a checkout of snapshotd, and snapshotd start there.',
    });
  const tool = spawn(process.execPath, ['--no-warnings', TOOL, ...(worker ? [] : ['--no-worker'])], {
    stdio: 'inherit',
  });
  const pass = (signal: NodeJS.Signals) => tool.kill(signal);
  process.on('SIGTERM', pass).on('SIGHUP', pass);
  // The terminal sends it to both, and the tool has servers to stop first.
  process.on('SIGINT', () => undefined);
  const [code] = (await once(tool, 'exit')) as [number | null];
  process.exitCode = code ?? 1;
}
