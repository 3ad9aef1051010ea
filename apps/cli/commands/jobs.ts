import { type Command, InvalidArgumentError, Option } from 'commander';
import { Failure, formatDuration, hasEnded } from '#common';
import {
  type DaemonStatus,
  SWAP_OBSTACLES,
  type SwapObstacleCode,
  VERIFICATION_LEVELS,
  type VerificationLevel,
} from '#contracts';
import type { Api, DaemonKind } from '../api.js';
import { Context } from '../context.js';
import { formatTable, formatTime, printable } from '../format.js';
import { resolveLatest } from '../latest.js';
import { ask, canAsk } from '../prompt.js';
import { planOf, planText, showPlan } from './check.js';
import { reportingTrouble, showEnd, showStatus, stateOf, watched } from '../watch.js';

/** How long to send a start again whose reply was lost. */
const START_RETRY_MS = 30_000;

const WAIT = ['--wait', 'show progress until the job ends; the exit code tells the result'] as const;
const ALLOW_EXTRA_TABLES = [
  '--allow-extra-tables',
  'ignore tables that the archive does not hold, instead of refusing',
] as const;
const ALLOW_EXTRA_COLUMNS = [
  '--allow-extra-columns',
  'give columns that the archive does not hold their defaults, instead of refusing',
] as const;
const DROP_COLUMN = [
  '--drop-column <schema.table.column>',
  "leave out the archive's values of this column; repeat it for more",
] as const;
const FIRE_EVENT_TRIGGERS = [
  '--fire-event-triggers',
  'let event triggers fire, instead of refusing if the role cannot suspend them',
] as const;
const OTHER_DATABASE = [
  '--other-database',
  'accept an archive of another database, instead of refusing',
] as const;
const ARCHIVE = [
  '<archive>',
  "the archive's name, from snapshotd list, its backupUrl, or latest: see snapshotd latest",
] as const;
const ID = "the job's id, printed by backup, restore and verify";

interface WaitOption {
  wait?: true;
}

interface ColumnOptions {
  allowExtraColumns?: true;
  dropColumn?: string[];
}

interface RestoreOptions extends WaitOption, ColumnOptions {
  backupFirst?: true;
  allowExtraTables?: true;
  fireEventTriggers?: true;
  otherDatabase?: true;
  table?: string[];
  into?: Record<string, string>;
  create?: true;
  keepViolations?: true;
  removeExtraLargeObjects?: true;
  intoDatabase?: string;
  swap?: true;
  accept?: SwapObstacleCode[];
  createRoles?: true;
  privilegedRoles?: true;
  /** False with --no-owner. */
  owner: boolean;
  yes?: true;
  dryRun?: true;
}

interface VerifyOptions extends WaitOption, ColumnOptions {
  level?: VerificationLevel;
  restoreDrill?: true;
  allowExtraTables?: true;
  fireEventTriggers?: true;
  otherDatabase?: true;
}

export function addJobCommands(program: Command): void {
  program
    .command('backup')
    .description('start a backup and print its id')
    .option(...WAIT)
    .action(async (options: WaitOption, command: Command) => {
      await start(new Context(command), 'Backup', {}, options.wait);
    })
    .addHelpText(
      'after',
      `
Examples:
  snapshotd backup --wait
  id=$(snapshotd backup)
  snapshotd backup --wait --json | jq -r .backupUrl`,
    );
  program
    .command('restore')
    .description('replace the rows of the tables by those of an archive and print the id')
    .argument(...ARCHIVE)
    .option('--backup-first', 'back up the present rows first')
    .option(...ALLOW_EXTRA_TABLES)
    .option(...ALLOW_EXTRA_COLUMNS)
    .option(...DROP_COLUMN, collected)
    .option(...FIRE_EVENT_TRIGGERS)
    .option(...OTHER_DATABASE)
    .option('--keep-violations', 'keep rows that violate keys and checks, and reinstate those as NOT VALID')
    .option('--remove-extra-large-objects', 'remove large objects that the archive does not hold')
    .option('--table <schema.table>', 'restore only this table; repeat it for more', collected)
    .option('--into <schema=other>', 'restore into another schema, beside the live tables', collectedPair)
    .option(
      '--create',
      'with --into: create the tables there like the live ones, or from the archive if those differ',
    )
    .option('--into-database <name>', 'build a new database from the archive alone, beside the live one')
    .option('--swap', 'with --into-database: then exchange it with the live database, which is kept')
    .addOption(
      new Option('--accept <obstacle>', 'with --swap: accept this obstacle; repeat it for more')
        .choices(SWAP_OBSTACLES)
        .argParser(collectedObstacle),
    )
    .option('--create-roles', 'with --into-database: create missing roles, without the right to log in')
    .option('--privileged-roles', 'with --create-roles: with their rights such as SUPERUSER too')
    .option('--no-owner', "with --into-database: give everything to the worker's role")
    .option('--dry-run', 'show what the restore would do now, and change nothing')
    .option('--yes', 'do not ask for confirmation')
    .option(...WAIT)
    .action(restore)
    .addHelpText(
      'after',
      `
At a terminal, restore shows what it would replace and asks you to type the database's name; without a terminal it
needs --yes. With --into, and with --into-database without --swap, it replaces nothing and does not ask. With --dry-run,
the exit code is 1 if a restore would be refused now. After a swap, rows that were written since the backup are only in
the kept database: see snapshotd databases.

Examples:
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --dry-run
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --backup-first --wait
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --table repository.node --table repository.revision
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --into repository=repository_copy --create --wait
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --into-database shop_2026_11_28 --swap --wait`,
    );
  program
    .command('verify')
    .description('read a whole archive, check whether it can be restored, and print the id')
    .argument(...ARCHIVE)
    .addOption(new Option('--level <level>', 'how much to prove (default: FIT)').choices(VERIFICATION_LEVELS))
    .option('--restore-drill', 'the same as --level DRILL')
    .option(...ALLOW_EXTRA_TABLES)
    .option(...ALLOW_EXTRA_COLUMNS)
    .option(...DROP_COLUMN, collected)
    .option(...FIRE_EVENT_TRIGGERS)
    .option(...OTHER_DATABASE)
    .option(...WAIT)
    .action(async (archive: string, { wait, ...options }: VerifyOptions, command: Command) => {
      const context = new Context(command);
      const url = await resolveLatest(context.api(), archive);
      await start(context, 'Verify', { url, ...named(options) }, wait);
    })
    .addHelpText(
      'after',
      `
READ compares every byte with the manifest and needs no database. FIT also checks that a restore in place would be
accepted. DRILL recovers the archive into a scratch database, compares it and drops it. With an API key, DRILL needs the
scope "everything"; for the others, the scope "start" suffices.

Examples:
  snapshotd verify latest --wait
  snapshotd verify BackupDaemonJob1-107249060429899939.zip --level DRILL --wait`,
    );
  program
    .command('status')
    .description('show a backup, restore or verification; without an id, all that wait or run')
    .argument('[id]', ID)
    .option(...WAIT)
    .action(printStatus)
    .addHelpText(
      'after',
      `
Examples:
  snapshotd status
  snapshotd status 7
  snapshotd status 7 --wait`,
    );
  program
    .command('terminate')
    .description('terminate a backup, restore or verification: a running one is rolled back')
    .argument('<id>', ID)
    .option('--wait', 'wait until the job ends')
    .action(terminate)
    .addHelpText(
      'after',
      `
Examples:
  snapshotd terminate 7
  snapshotd terminate 7 --wait`,
    );
}

async function restore(given: string, options: RestoreOptions, command: Command): Promise<void> {
  const { wait, yes, dryRun, table: tables, into: intoSchemas, owner, ...others } = named(options);
  const { intoDatabase, swap } = others;
  const context = new Context(command);
  const archive = await resolveLatest(context.api(), given);
  const replaces = intoSchemas === undefined && (intoDatabase === undefined || swap === true);
  const body = {
    url: archive,
    ...others,
    ...(tables && { tables }),
    ...(intoSchemas && { intoSchemas }),
    ...(!owner && { noOwner: true }),
  };
  if (dryRun) return showPlan(context, context.api(), body);
  if (yes === undefined && replaces) await confirm(context, body, swap);
  await start(context, 'Restore', body, wait);
}

/** Renames the repeated option as the API names it. */
function named<Options extends ColumnOptions>({ dropColumn: dropColumns, ...options }: Options) {
  return { ...options, ...(dropColumns && { dropColumns }) };
}

/**
 * Shows what a restore would replace, and asks for the database's name.
 * @throws Failure USAGE_WRONG if there is no terminal, NOT_CONFIRMED, INTERRUPTED
 */
async function confirm(context: Context, body: object, swap = false): Promise<void> {
  if (!canAsk())
    throw new Failure(
      'USAGE_WRONG',
      'permanent',
      `A restore replaces ${swap ? 'the live database' : 'the rows of the live tables'}.`,
      { hint: 'Without a terminal to confirm at, it needs --yes.' },
    );
  const plan = await planOf(context, context.api(), body);
  process.stderr.write(`${planText(plan)}\n\n`);
  if (plan.target === null)
    throw new Failure('NOT_CONFIRMED', 'permanent', 'The worker cannot tell what a restore would replace.', {
      hint: 'Nothing was restored. With --yes, the restore is started without a confirmation.',
    });
  const { database } = plan.target;
  const answer = await ask(`Type the database's name to confirm (${printable(database)}): `);
  if (answer.trim() !== database)
    throw new Failure('NOT_CONFIRMED', 'permanent', "That is not the database's name. Nothing was restored.");
}

/** Starts a job and prints its id at once; the result is the id, or with --wait the last status. */
async function start(context: Context, kind: DaemonKind, body: object, wait = false): Promise<void> {
  const api = context.api();
  const started = await api.start(
    kind,
    body,
    reportingTrouble((text) => context.note(text), START_RETRY_MS),
  );
  const { id, type } = started;
  if (wait) {
    context.note(`${type} ${id} started.`);
    await showEnd(context, api, id);
  } else {
    context.note(`${type} ${id} started. To follow it: snapshotd status ${id} --wait`);
    context.result(started, id);
  }
}

async function printStatus(id: string | undefined, { wait }: WaitOption, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  if (id !== undefined && wait) await showEnd(context, api, id);
  else if (id !== undefined) showStatus(context, await api.status(id));
  else if (wait)
    throw new Failure('USAGE_WRONG', 'permanent', '--wait needs an id, such as: snapshotd status 7 --wait');
  else await showUnended(context, api);
}

async function showUnended(context: Context, api: Api): Promise<void> {
  const all = { limit: 100, offset: 0 };
  // In this order, so that a job that begins between the calls is in one of them.
  const waiting = (await api.daemons(all, 'STARTED')).daemons;
  const running = (await api.daemons(all, 'IN_PROGRESS')).daemons;
  const daemons = new Map([...waiting, ...running].map((status) => [status.id, status]));
  const { url, email = null } = context.server;
  const who = `${url}, ${email === null ? 'with SNAPSHOTD_TOKEN' : `logged in as ${email}`}`;
  const what = daemons.size === 0 ? 'No jobs wait or run.' : jobTable([...daemons.values()]);
  context.result({ url, email, daemons: [...daemons.values()] }, `${who}\n${what}`);
}

async function terminate(id: string, { wait }: WaitOption, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  const before = await api.status(id);
  if (hasEnded(before)) {
    context.note(`${before.type} ${id} had already ended. Nothing was terminated.`);
    return showStatus(context, before);
  }
  await api.terminate(id);
  const status = wait ? await watched(api, id) : await api.status(id);
  if (status.status === 'COMPLETED') context.note(`${status.type} ${id} completed before it was terminated.`);
  if (!context.json && !hasEnded(status)) context.result(status, `${status.type} ${id} is terminating.`);
  else showStatus(context, status);
}

/** Formats jobs as a table. */
export function jobTable(daemons: DaemonStatus[]): string {
  return formatTable(
    ['ID', 'TYPE', 'STATUS', 'STARTED', 'TOOK', 'BY', 'MESSAGE'],
    daemons.map((status) => [
      status.id,
      status.type,
      stateOf(status),
      formatTime(status.startedOn),
      formatDuration(status.totalTimeMS),
      status.startedBy,
      status.errorMessage ?? status.progresssMessage,
    ]),
  );
}

function collected(value: string, before: string[] = []): string[] {
  return [...before, value];
}

function collectedObstacle(value: string, before: SwapObstacleCode[] = []): SwapObstacleCode[] {
  const code = SWAP_OBSTACLES.find((one) => one === value);
  if (code === undefined) throw new InvalidArgumentError(`Choose one of ${SWAP_OBSTACLES.join(', ')}.`);
  return [...before, code];
}

function collectedPair(value: string, before: Record<string, string> = {}): Record<string, string> {
  const [, from, to] = /^([^=]+)=([^=]+)$/.exec(value) ?? [];
  if (from === undefined || to === undefined)
    throw new InvalidArgumentError('Write it as repository=repository_copy.');
  return { ...before, [from]: to };
}
