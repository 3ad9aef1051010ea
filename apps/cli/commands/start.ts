import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Failure } from '#common';

/** A separate program, because tools may import what apps may not. */
const TOOL = join(__dirname, '../../../tools/start.js');

export function addStartCommand(program: Command): void {
  program
    .command('start')
    .description('run the API, a worker and the missing servers with data in ./.data/, until Ctrl-C')
    .option('--no-worker', 'start no worker, and print the variables that your own worker needs')
    .action(start)
    .addHelpText(
      'after',
      `
For a first look and for development; npm start does the same. For production, see README.md.

Examples:
  snapshotd start
  PORT=9090 snapshotd start`,
    );
}

async function start({ worker }: { worker: boolean }): Promise<void> {
  if (!existsSync(TOOL))
    throw new Failure('FILE_REFUSED', 'permanent', 'This installation has no embedded servers.', {
      hint: 'In a checkout of snapshotd, run: npm ci && npm run build && npx snapshotd start',
    });
  const tool = spawn(process.execPath, ['--no-warnings', TOOL, ...(worker ? [] : ['--no-worker'])], {
    stdio: 'inherit',
  });
  const pass = (signal: NodeJS.Signals) => tool.kill(signal);
  process.on('SIGTERM', pass).on('SIGHUP', pass);
  // The terminal sends SIGINT to both processes; this one waits while the tool stops the servers.
  process.on('SIGINT', () => undefined);
  const [code] = (await once(tool, 'exit')) as [number | null];
  process.exitCode = code ?? 1;
}
