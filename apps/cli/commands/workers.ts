import type { Command } from 'commander';
import type { MissingWorker, PgDumpView, WorkerView } from '#contracts';
import { Context } from '../context.js';
import { formatTable, formatTime, printable } from '../format.js';

export function addWorkerCommands(program: Command): void {
  program
    .command('workers')
    .description('list the workers, their jobs and their warnings')
    .action(async (_options: object, command: Command) => {
      const context = new Context(command);
      const answer = await context.api().workers();
      const { workers, missing } = answer;
      const table = workers.length === 0 ? 'No worker is running.' : workerTable(workers);
      context.result(answer, [table, ...missing.map(missingSentence), ...remarksOf(workers)].join('\n'));
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
  const isLimited = workers.some(({ repositories }) => repositories !== null);
  return formatTable(
    [
      ...['HOST', 'VERSION', 'NODE', 'PG_DUMP', 'ROLE', 'DATABASE'],
      ...(isLimited ? ['SERVES'] : []),
      ...['JOBS', 'SINCE'],
    ],
    workers.map(({ host, version, node, pgDump, role, identity, repositories, jobs, takesJobs, since }) => [
      host,
      version,
      node ?? '-',
      pgDumpText(pgDump),
      role ?? '-',
      identity?.databaseName ?? '-',
      ...(isLimited ? [repositories?.join(', ') ?? 'all'] : []),
      takesJobs ? jobs.join(', ') || 'idle' : { amber: 'TAKES NONE' },
      formatTime(since),
    ]),
  );
}

function pgDumpText(pgDump: PgDumpView | null): string {
  if (pgDump === null) return '-';
  return pgDump.source === 'bundled' ? `${pgDump.version} (bundled)` : pgDump.version;
}

function missingSentence({ host, lastBeatOn }: MissingWorker): string {
  return printable(`${host}: missing. Its last heartbeat was at ${formatTime(lastBeatOn)}.`);
}

function remarksOf(workers: WorkerView[]): string[] {
  const remarks = workers.flatMap(({ host, warnings }) =>
    warnings.map(({ message }) => printable(`${host}: ${message}`)),
  );
  return [...new Set(remarks)];
}
