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
    .option('--with-example-data', 'fill an empty repository in the embedded database with 785 rows')
    .action(start)
    .addHelpText(
      'after',
      `
For a first look and for development; npm start does the same. For production, see README.md.

Examples:
  snapshotd start
  snapshotd start --with-example-data
  PORT=9090 snapshotd start`,
    );
}

interface StartOptions {
  worker: boolean;
  withExampleData?: true;
}

async function start({ worker, withExampleData }: StartOptions): Promise<void> {
  if (!existsSync(TOOL))
    throw new Failure('FILE_REFUSED', 'permanent', 'This installation has no embedded servers.', {
      hint: 'In a checkout of snapshotd, run: npm ci && npm run build && npx snapshotd start',
    });
  const options = [...(worker ? [] : ['--no-worker']), ...(withExampleData ? ['--with-example-data'] : [])];
  const tool = spawn(process.execPath, ['--no-warnings', TOOL, ...options], { stdio: 'inherit' });
  const pass = (signal: NodeJS.Signals) => tool.kill(signal);
  process.on('SIGTERM', pass).on('SIGHUP', pass);
  // The terminal sends SIGINT to both processes; this one waits while the tool stops the servers.
  process.on('SIGINT', () => undefined);
  const [code] = (await once(tool, 'exit')) as [number | null];
  process.exitCode = code ?? 1;
}
