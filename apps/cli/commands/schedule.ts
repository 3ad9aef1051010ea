import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { afterBackupOf, Failure, retry, thenText } from '#common';
import {
  AFTER_BACKUP,
  type AfterBackup,
  DEFAULT_REPOSITORY,
  FORMER_AFTER_BACKUP,
  type PruningPlanView,
  type Retention,
  type ScheduleRequest,
  type ScheduleView,
} from '#contracts';
import type { Api } from '../api.js';
import { Context } from '../context.js';
import { type Amber, formatFields, formatTable, formatTime, printable } from '../format.js';
import { reportingTrouble, RETRY_MS, watched } from '../watch.js';

/** How often --wait looks whether a run has ended. */
const LOOK_EVERY_MS = 500;
const KEPT = ['last', 'daily', 'weekly', 'monthly', 'yearly'] as const;
const NAME = ['<name>', 'letters, digits, dots, hyphens and underscores'] as const;

interface SetOptions {
  pattern: string;
  repository?: string;
  timeZone?: string;
  then?: AfterBackup;
  keepLast?: number;
  keepDaily?: number;
  keepWeekly?: number;
  keepMonthly?: number;
  keepYearly?: number;
  disabled?: true;
}

export function addScheduleCommands(program: Command): void {
  const schedule = program
    .command('schedule')
    .description('manage scheduled backups')
    .addHelpText(
      'after',
      `
Examples:
  snapshotd schedule set nightly --pattern '30 2 * * *' --time-zone Europe/Berlin --keep-daily 7 --keep-weekly 5
  snapshotd schedule list
  snapshotd schedule pruning nightly`,
    );
  schedule
    .command('list')
    .description('list all schedules')
    .action(async (_options: object, command: Command) => {
      const context = new Context(command);
      const answer = await context.api().schedules();
      context.result(
        answer,
        answer.schedules.length === 0 ? 'No schedules.' : scheduleTable(answer.schedules),
      );
    })
    .addHelpText('after', '\nExample:\n  snapshotd schedule list');
  schedule
    .command('show')
    .description('show a schedule and its last run')
    .argument(...NAME)
    .action(async (name: string, _options: object, command: Command) => {
      const context = new Context(command);
      showSchedule(context, await context.api().schedule(name));
    })
    .addHelpText('after', '\nExample:\n  snapshotd schedule show nightly');
  addSet(schedule);
  schedule
    .command('confirm')
    .description('confirm that rows are missing on purpose, so that the schedule deletes archives again')
    .argument(...NAME)
    .action(async (name: string, _options: object, command: Command) => {
      const context = new Context(command);
      showSchedule(context, await context.api().confirmSchedule(name));
    })
    .addHelpText(
      'after',
      `
A backup warns if a table or the whole repository has lost many of its rows since an earlier archive. Its schedule
then deletes no archives until you confirm the loss.

Example:
  snapshotd schedule confirm nightly`,
    );
  schedule
    .command('run')
    .description('begin a run now, even of a disabled schedule: backup, verification, pruning')
    .argument(...NAME)
    .option('--wait', 'wait until the run ends; the exit code tells the result')
    .action(runNow)
    .addHelpText('after', '\nExample:\n  snapshotd schedule run nightly --wait');
  schedule
    .command('delete')
    .description('delete a schedule; its archives stay')
    .argument(...NAME)
    .action(async (name: string, _options: object, command: Command) => {
      const context = new Context(command);
      await context.api().deleteSchedule(name);
      context.result({ name }, `Schedule ${name} deleted. Its archives stay.`);
    })
    .addHelpText('after', '\nExample:\n  snapshotd schedule delete nightly');
  schedule
    .command('pruning')
    .description('show which archives the retention would delete now and why it keeps the others')
    .argument(...NAME)
    .action(async (name: string, _options: object, command: Command) => {
      const context = new Context(command);
      const pruning = await context.api().pruning(name);
      context.result(pruning, pruningTable(pruning));
    })
    .addHelpText('after', '\nExample:\n  snapshotd schedule pruning nightly');
}

function addSet(schedule: Command): void {
  const set = schedule
    .command('set')
    .description('create a schedule, or replace the one of this name')
    .argument(...NAME)
    .requiredOption('--pattern <cron>', 'a cron pattern in quotes: five fields, or six with seconds first')
    .option(
      '--repository <name>',
      'the repository to back up; without it, an existing schedule keeps its own',
    )
    .option('--time-zone <zone>', 'the time zone of the pattern, such as Europe/Berlin (default: UTC)')
    .addOption(
      new Option(
        '--then <what>',
        'what to do after each backup: nothing, or verify it at this level (default: READ)',
      )
        .choices(AFTER_BACKUP)
        .argParser(afterBackup),
    );
  for (const which of KEPT)
    set.option(
      `--keep-${which} <count>`,
      which === 'last' ? 'number of newest archives to keep' : `number of ${which} archives to keep`,
      keptCount,
    );
  set
    .option('--disabled', 'keep the schedule but do not run it')
    .action(async (name: string, options: SetOptions, command: Command) => {
      const context = new Context(command);
      showSchedule(context, await context.api().setSchedule(name, requestOf(options)));
    })
    .addHelpText(
      'after',
      `
Without a --keep-... option the schedule deletes nothing. It deletes only archives that it made.

Examples:
  snapshotd schedule set nightly --pattern '30 2 * * *' --time-zone Europe/Berlin --keep-daily 7 --keep-weekly 5
  snapshotd schedule set crm --repository crm --pattern '0 4 * * *'
  snapshotd schedule set hourly --pattern '0 * * * *' --then nothing --keep-last 24
  snapshotd schedule set nightly --pattern '30 2 * * *' --disabled`,
    );
}

async function runNow(name: string, { wait }: { wait?: true }, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  const begun = await api.runSchedule(name);
  if (!wait) {
    context.note(`The run of ${name} has begun. To see its end: snapshotd schedule show ${name}`);
    return showSchedule(context, begun);
  }
  context.note(`The run of ${name} has begun.`);
  const ended = await endOfRun(context, api, begun);
  showSchedule(context, ended);
  const { status, errorMessage } = ended.lastRun ?? {};
  if (status === 'FAILED')
    throw new Failure('DAEMON_FAILED', 'permanent', `The run failed: ${printable(errorMessage ?? '')}`);
}

/** Shows the run's backup, and then waits for its verification and pruning. */
async function endOfRun(context: Context, api: Api, begun: ScheduleView): Promise<ScheduleView> {
  const retries = reportingTrouble((text) => context.note(text), RETRY_MS);
  let shown: string | null = null;
  for (;;) {
    const now = await retry(() => api.schedule(begun.name), retries);
    const { lastRun } = now;
    // A later run may have begun.
    if (lastRun?.startedOn !== begun.lastRun?.startedOn || lastRun?.status !== 'IN_PROGRESS') return now;
    if (lastRun.daemonId !== null && lastRun.daemonId !== shown) {
      shown = lastRun.daemonId;
      await watched(api, shown);
    }
    await sleep(LOOK_EVERY_MS);
  }
}

/** Accepts the words of 0.1.0 too. */
function afterBackup(word: string): AfterBackup {
  const known = [...AFTER_BACKUP, ...FORMER_AFTER_BACKUP].find((one) => one === word);
  if (known === undefined) throw new InvalidArgumentError(`Allowed choices are ${AFTER_BACKUP.join(', ')}.`);
  return afterBackupOf(known);
}

function requestOf(options: SetOptions): Partial<ScheduleRequest> {
  const { pattern, repository, timeZone, then, keepLast, keepDaily, keepWeekly, keepMonthly, keepYearly } =
    options;
  const kept = {
    last: keepLast,
    daily: keepDaily,
    weekly: keepWeekly,
    monthly: keepMonthly,
    yearly: keepYearly,
  };
  return {
    pattern,
    ...(repository !== undefined && { repository }),
    ...(timeZone !== undefined && { timeZone }),
    ...(then !== undefined && { then }),
    ...(Object.values(kept).some((count) => count !== undefined) && { retention: kept }),
    enabled: options.disabled !== true,
  };
}

function showSchedule(context: Context, schedule: ScheduleView): void {
  const { lastRun } = schedule;
  context.result(
    schedule,
    formatFields([
      ['name', schedule.name],
      ['repository', schedule.repository],
      ['pattern', `${schedule.pattern} (${schedule.timeZone})`],
      ['then', thenText(schedule.then)],
      ['keeps', keptText(schedule.retention)],
      ['next run', nextRun(schedule)],
      ['last run', lastRun && `${formatTime(lastRun.startedOn)}, ${lastRun.status}${backupOf(lastRun)}`],
      ['', lastRun?.errorMessage ?? null],
      ['last completed', timeOrNull(schedule.lastCompletedOn)],
      ['last verified', timeOrNull(schedule.lastVerifiedOn)],
      ['deletes', deletesNothing(schedule)],
      ['created', `${formatTime(schedule.createdOn)} by ${schedule.createdBy}`],
    ]),
  );
}

function scheduleTable(schedules: ScheduleView[]): string {
  const isNamed = schedules.some(({ repository }) => repository !== DEFAULT_REPOSITORY);
  return formatTable(
    [
      'NAME',
      ...(isNamed ? ['REPOSITORY'] : []),
      'PATTERN',
      'TIME ZONE',
      'THEN',
      'KEEPS',
      'NEXT RUN',
      'LAST RUN',
    ],
    schedules.map((schedule) => [
      schedule.name,
      ...(isNamed ? [schedule.repository] : []),
      schedule.pattern,
      schedule.timeZone,
      thenText(schedule.then),
      keptText(schedule.retention),
      nextRun(schedule),
      lastStatus(schedule),
    ]),
  );
}

function pruningTable(pruning: PruningPlanView): string {
  const rows = [
    ...pruning.delete.map((archive) => ({ ...archive, what: 'delete', because: [] as string[] })),
    ...pruning.keep.map((archive) => ({ ...archive, what: 'keep' })),
  ].sort((one, other) => other.createdOn - one.createdOn);
  if (rows.length === 0) return 'This schedule has no archives.';
  return formatTable(
    ['NAME', 'STARTED', '', 'BECAUSE'],
    rows.map(({ name, createdOn, what, because }) => [name, formatTime(createdOn), what, because.join(', ')]),
  );
}

function deletesNothing({ name, lostRowsSince }: ScheduleView): Amber | null {
  if (lostRowsSince === null) return null;
  return { amber: `nothing: ${lostRows(lostRowsSince)}. To confirm: snapshotd schedule confirm ${name}` };
}

function lastStatus({ lastRun, lostRowsSince }: ScheduleView): string | Amber {
  const status = lastRun?.status ?? 'never';
  return lostRowsSince === null ? status : { amber: `${status}, ${lostRows(lostRowsSince)}` };
}

function lostRows(since: number): string {
  return `rows are missing since ${formatTime(since)}`;
}

function keptText(retention: Retention | null): string {
  if (retention === null) return 'everything';
  return KEPT.flatMap((which) => (retention[which] ? [`${retention[which]} ${which}`] : [])).join(', ');
}

function nextRun({ enabled, nextRunOn }: ScheduleView): string {
  return enabled ? (timeOrNull(nextRunOn) ?? '-') : 'disabled';
}

function backupOf({ daemonId }: { daemonId: string | null }): string {
  return daemonId === null ? '' : `, backup ${daemonId}`;
}

function timeOrNull(time: number | null): string | null {
  return time === null ? null : formatTime(time);
}

function keptCount(value: string): number {
  if (!/^\d{1,5}$/.test(value)) throw new InvalidArgumentError('Give a whole number, at most 10000.');
  return Number(value);
}
