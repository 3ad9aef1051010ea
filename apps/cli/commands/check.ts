import type { Command } from 'commander';
import { Failure, formatBytes, formatDuration, formatRows } from '#common';
import type { DaemonStatus, Finding, RepositoryCheck, RestorePreview } from '#contracts';
import type { Api } from '../api.js';
import { Context } from '../context.js';
import { type Amber, formatFields, formatTable, formatTime, printable } from '../format.js';
import { watched } from '../watch.js';

export function addCheckCommand(program: Command): void {
  program
    .command('check')
    .description('check whether a repository can be backed up, restored and recovered')
    .argument('[repository]', "the repository's name", 'default')
    .option('--last', 'show the newest check instead of making one')
    .action(checkRepository)
    .addHelpText(
      'after',
      `
A worker connects, and tries its rights on the bucket with a small object. Problems prevent backups; warnings prevent
restores, or call for a look. The exit code is 1 if there is a problem.

Examples:
  snapshotd check
  snapshotd check crm --json | jq -r '.findings[] | select(.level != "ok") | .statements[]'`,
    );
}

async function checkRepository(
  repository: string,
  { last }: { last?: true },
  command: Command,
): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  const result = last
    ? await api.newestCheck(repository)
    : await resultOf(context, api, await api.check(repository), ({ check }) => check);
  context.result(result, checkText(result));
  if (result.findings.some(({ level }) => level === 'problem')) process.exitCode = 1;
}

/** Shows the plan of a restore. The exit code is 1 if a restore would be refused. */
export async function showPlan(context: Context, api: Api, body: object): Promise<void> {
  const plan = await planOf(context, api, body);
  context.result(plan, planText(plan));
  if (plan.refusals.length > 0) process.exitCode = 1;
}

/** The plan of a restore. Waits for a worker. */
export async function planOf(context: Context, api: Api, body: object): Promise<RestorePreview> {
  return resultOf(context, api, await api.restorePlan(body), ({ restorePlan }) => restorePlan);
}

/** The answer of the server, or the result of the job that it names if no worker has answered yet. */
async function resultOf<Result extends RepositoryCheck | RestorePreview>(
  context: Context,
  api: Api,
  answer: Result | DaemonStatus,
  of: (status: DaemonStatus) => Result | undefined,
): Promise<Result> {
  if (!('progresssMessage' in answer)) return answer;
  context.note('Waiting for a worker');
  const status = await watched(api, answer.id);
  const result = of(status);
  if (result !== undefined) return result;
  throw new Failure('DAEMON_FAILED', 'permanent', status.errorMessage ?? 'The check has no result.');
}

const LEVELS: Record<Finding['level'], string | Amber> = {
  ok: 'ok',
  warning: { amber: 'WARNING' },
  problem: { amber: 'PROBLEM' },
};
const ORDER: Finding['level'][] = ['problem', 'warning', 'ok'];
/** Tables that are listed for people. */
const LISTED = 20;

function checkText({
  repository,
  checkedOn,
  target,
  version,
  role,
  findings,
  ...facts
}: RepositoryCheck): string {
  const { bytes, estimatedRows, tables } = facts;
  const head = formatFields([
    ['repository', repository],
    ['database', target && `${target.database} at ${target.host}:${target.port}`],
    ['system', target?.systemIdentifier ?? null],
    ['PostgreSQL', version],
    ['role', role],
    [
      'contents',
      tables && `${tables.total} tables, ${formatBytes(bytes ?? 0)}, about ${formatRows(estimatedRows ?? 0)}`,
    ],
    ['checked', formatTime(checkedOn)],
  ]);
  const table = formatTable(
    ['LEVEL', 'SUBJECT', 'FINDING'],
    findings
      .toSorted((one, other) => ORDER.indexOf(one.level) - ORDER.indexOf(other.level))
      .flatMap(({ kind, level, message, statements }) => [
        [LEVELS[level], kind, message],
        ...statements.map((statement) => ['', '', statement]),
      ]),
  );
  return `${head}\n\n${table}`;
}

/** "785 rows now, by PostgreSQL's estimate" */
function nowText(estimated: number | null): string {
  return estimated === null ? 'none now' : `about ${formatRows(estimated)} now`;
}

export function planText({ summary, target, refusals, ...plan }: RestorePreview): string {
  const { takenOn, rows, tables, suspended, columns, omissions, warnings, estimatedSeconds } = plan;
  const some = (all: string[], total: number) =>
    all.slice(0, LISTED).join(', ') + (total > LISTED ? ` and ${total - LISTED} more` : '');
  const fields = formatFields([
    ['plan', summary],
    ['system', target?.systemIdentifier ?? null],
    ['archive of', takenOn === null ? null : formatTime(takenOn)],
    [
      'rows',
      `${formatRows(rows.archive)} in the archive, ${nowText(rows.estimatedNow)} by PostgreSQL's estimate`,
    ],
    ['suspends', suspended.total === 0 ? null : some(suspended.listed, suspended.total)],
    ...columns.listed.map(({ table, added, dropped }): [string, string] => [
      'columns',
      [
        ...(added.length > 0 ? [`${table} fills ${added.join(', ')} with defaults`] : []),
        ...(dropped.length > 0 ? [`${table} drops ${dropped.join(', ')}`] : []),
      ].join('; '),
    ]),
    ...omissions.map(({ what, why }): [string, Amber] => ['omits', { amber: `${what}: ${why}` }]),
    ...warnings.map((warning): [string, Amber] => ['warning', { amber: warning }]),
    ['takes about', formatDuration(estimatedSeconds * 1_000)],
    ...refusals.map(({ message }): [string, Amber] => ['REFUSED', { amber: message }]),
  ]);
  if (tables.total === 0) return fields;
  const listed = formatTable(
    ['TABLE', 'ROWS IN THE ARCHIVE', 'ESTIMATED NOW'],
    tables.listed
      .slice(0, LISTED)
      .map(({ schema, name, into, archive, estimatedNow }) => [
        into === `${schema}.${name}` ? into : `${schema}.${name} into ${into}`,
        archive,
        estimatedNow ?? '-',
      ]),
  );
  const more = tables.total > LISTED ? `\n${printable(`and ${tables.total - LISTED} more tables`)}` : '';
  return `${fields}\n\n${listed}${more}`;
}
