import type { Command } from 'commander';
import type { KeptDatabaseView } from '#contracts';
import { Context } from '../context.js';
import { formatTable, formatTime, printable } from '../format.js';
import { confirmName } from '../prompt.js';
import { showEnd } from '../watch.js';

interface DropOptions {
  yes?: true;
  wait?: true;
}

export function addDatabaseCommands(program: Command): void {
  const databases = program
    .command('databases')
    .description('list and drop the databases that restores with --swap have kept')
    .addHelpText(
      'after',
      `
Examples:
  snapshotd databases list
  snapshotd databases drop shop_before_20261128_190512 --wait`,
    );
  databases
    .command('list', { isDefault: true })
    .description('list the kept databases, newest first')
    .action(async (_options: object, command: Command) => {
      const context = new Context(command);
      const answer = await context.api().databases();
      const isEmpty = answer.databases.length === 0;
      context.result(answer, isEmpty ? 'No kept databases.' : databaseTable(answer.databases));
    })
    .addHelpText('after', '\nExample:\n  snapshotd databases list');
  databases
    .command('drop')
    .description('start a job that drops a kept database, and print its id')
    .argument('<name>', "the database's name, from snapshotd databases")
    .option('--yes', 'do not ask for confirmation')
    .option('--wait', 'show progress until the job ends; the exit code tells the result')
    .action(drop)
    .addHelpText(
      'after',
      `
At a terminal, it asks you to type the name; without a terminal it needs --yes. It drops nothing but databases that a
restore with --swap has kept, and only while nobody uses them.

Example:
  snapshotd databases drop shop_before_20261128_190512 --wait`,
    );
}

async function drop(name: string, { yes, wait }: DropOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  if (yes === undefined)
    await confirmName(name, 'database', {
      short: 'This drops a whole database.',
      full: `This drops the database ${printable(name)} with all of its rows.`,
      nothing: 'Nothing was dropped.',
    });
  const started = await api.dropDatabase(name);
  const { id, type } = started;
  if (wait) {
    context.note(`${type} ${id} started.`);
    await showEnd(context, api, id);
  } else {
    context.note(`${type} ${id} started. To follow it: snapshotd status ${id} --wait`);
    context.result(started, id);
  }
}

function databaseTable(databases: KeptDatabaseView[]): string {
  return formatTable(
    ['NAME', 'WAS', 'OWNER', 'KEPT', 'JOB'],
    databases.map(({ name, of, owner, keptOn, daemonId }) => [
      printable(name),
      printable(of),
      printable(owner),
      formatTime(keptOn),
      daemonId,
    ]),
  );
}
