import type { Command } from 'commander';
import type { WorkerView } from '#contracts';
import { Context } from '../context.js';
import { formatTable, formatTime, printable } from '../format.js';

export function addWorkerCommands(program: Command): void {
  program
    .command('workers')
    .description('list the workers and their warnings')
    .action(async (_options: object, command: Command) => {
      const context = new Context(command);
      const answer = await context.api().workers();
      context.result(answer, answer.workers.length === 0 ? 'No workers.' : workerTable(answer.workers));
    })
    .addHelpText(
      'after',
      `
Examples:
  snapshotd workers
  snapshotd workers --json | jq -r '.workers[].warnings[].message'`,
    );
}

function workerTable(workers: WorkerView[]): string {
  const table = formatTable(
    ['HOST', 'VERSION', 'ROLE', 'DATABASE', 'TAKES JOBS', 'SINCE'],
    workers.map(({ host, version, role, identity, takesJobs, since }) => [
      host,
      version,
      role ?? '-',
      identity?.databaseName ?? '-',
      takesJobs ? 'yes' : 'NO',
      formatTime(since),
    ]),
  );
  const remarks = workers.flatMap(({ host, warnings }) =>
    warnings.map(({ message }) => printable(`${host}: ${message}`)),
  );
  return [table, ...new Set(remarks)].join('\n');
}
