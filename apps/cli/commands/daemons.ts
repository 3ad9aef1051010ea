import { basename } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { Failure, hasEnded } from '#common';
import type { DaemonStatus } from '#contracts';
import type { Api, DaemonKind } from '../api.js';
import { Context } from '../context.js';
import { formatDuration, formatTable, formatTime } from '../format.js';
import { ask, canAsk } from '../prompt.js';
import { expectCompleted, showStatus, tellingTrouble, watched } from '../watch.js';

/** For how long a start is sent again when its answer was lost. */
const START_RETRY_MS = 30_000;

const WAIT = ['--wait', 'show how it gets on until it has ended; the exit code tells how'] as const;
const ALLOW_EXTRA_TABLES = [
  '--allow-extra-tables',
  'leave tables alone that the archive does not hold, instead of refusing',
] as const;
const FIRE_EVENT_TRIGGERS = [
  '--fire-event-triggers',
  'let event triggers fire, instead of refusing where the role cannot keep them from it',
] as const;
const OTHER_DATABASE = [
  '--other-database',
  'take an archive of another database, instead of refusing',
] as const;
const ARCHIVE = ['<archive>', 'its name, as list shows it, or its backupUrl'] as const;

interface WaitOption {
  wait?: true;
}

interface RestoreOptions extends WaitOption {
  backupFirst?: true;
  allowExtraTables?: true;
  fireEventTriggers?: true;
  otherDatabase?: true;
  table?: string[];
  into?: Record<string, string>;
  create?: true;
  keepViolations?: true;
  yes?: true;
}

interface VerifyOptions extends WaitOption {
  restoreDrill?: true;
  allowExtraTables?: true;
  fireEventTriggers?: true;
  otherDatabase?: true;
}

export function addDaemonCommands(program: Command): void {
  program
    .command('backup')
    .description('start a backup, and print its id')
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
    .description('replace the rows of the tables by those of an archive, and print the id')
    .argument(...ARCHIVE)
    .option('--backup-first', 'make an archive of what is there first')
    .option(...ALLOW_EXTRA_TABLES)
    .option(...FIRE_EVENT_TRIGGERS)
    .option(...OTHER_DATABASE)
    .option('--keep-violations', 'let rows violate keys and checks, which then come back as NOT VALID')
    .option('--table <schema.table>', 'restore this table only; give it again for more', collected)
    .option('--into <schema=other>', 'load beside the live tables, into another schema', collectedPair)
    .option('--create', 'with --into: make the tables there like the live ones')
    .option('--yes', 'do not ask')
    .option(...WAIT)
    .action(restore)
    .addHelpText(
      'after',
      `
At a terminal you are asked for the archive's name; elsewhere --yes is needed. With --into nothing is replaced,
and nothing asked.

Examples:
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --backup-first --wait
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --table repository.node --table repository.revision
  snapshotd restore BackupDaemonJob1-107249060429899939.zip --into repository=repository_copy --create --wait`,
    );
  program
    .command('verify')
    .description('read a whole archive, check all that a restore would check, and print the id')
    .argument(...ARCHIVE)
    .option('--restore-drill', 'also restore the rows into copies of the tables, which are gone afterwards')
    .option(...ALLOW_EXTRA_TABLES)
    .option(...FIRE_EVENT_TRIGGERS)
    .option(...OTHER_DATABASE)
    .option(...WAIT)
    .action(async (archive: string, { wait, ...options }: VerifyOptions, command: Command) => {
      await start(new Context(command), 'Verify', { url: archive, ...options }, wait);
    })
    .addHelpText(
      'after',
      `
An API key needs the scope everything for --restore-drill, and the scope start otherwise.

Examples:
  snapshotd verify BackupDaemonJob1-107249060429899939.zip --wait
  snapshotd verify BackupDaemonJob1-107249060429899939.zip --restore-drill --wait`,
    );
  program
    .command('status')
    .description('show a backup, restore or verification; without an id, all that wait and run')
    .argument('[id]', 'as backup, restore and verify print it')
    .option(...WAIT)
    .action(status)
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
    .description('end a backup, restore or verification: what waits never starts, what runs is rolled back')
    .argument('<id>', 'as backup, restore and verify print it')
    .option('--wait', 'wait until it has ended')
    .action(terminate)
    .addHelpText(
      'after',
      `
Examples:
  snapshotd terminate 7
  snapshotd terminate 7 --wait`,
    );
}

async function restore(archive: string, options: RestoreOptions, command: Command): Promise<void> {
  const { wait, yes, table: tables, into: intoSchemas, ...others } = options;
  const context = new Context(command);
  if (yes === undefined && intoSchemas === undefined) await confirm(context.api(), archive);
  const body = { url: archive, ...others, ...(tables && { tables }), ...(intoSchemas && { intoSchemas }) };
  await start(context, 'Restore', body, wait);
}

/** @throws Failure USAGE_WRONG where nobody can be asked, NOT_CONFIRMED, INTERRUPTED */
async function confirm({ server }: Api, archive: string): Promise<void> {
  if (!canAsk())
    throw new Failure('USAGE_WRONG', 'permanent', 'A restore replaces the rows of the live tables.', {
      hint: 'There is no terminal to ask at: give --yes if you mean it.',
    });
  const name = basename(archive);
  process.stderr.write(`At ${server.url} all rows of the archive's tables will be replaced.\n`);
  const answer = await ask(`Type the archive's name to confirm (${name}): `);
  if (answer.trim() !== name)
    throw new Failure('NOT_CONFIRMED', 'permanent', "That is not the archive's name: nothing was restored.");
}

/** Says which daemon it is as soon as it is known; the result is its id, or with --wait how it ended. */
async function start(context: Context, kind: DaemonKind, body: object, wait = false): Promise<void> {
  const api = context.api();
  const started = await api.start(
    kind,
    body,
    tellingTrouble((text) => context.note(text), START_RETRY_MS),
  );
  const { id, type } = started;
  if (wait) {
    context.note(`${type} ${id} is started.`);
    await showEnd(context, api, id);
  } else {
    context.note(`${type} ${id} is started: snapshotd status ${id} --wait shows how it gets on.`);
    context.result(started, id);
  }
}

async function status(id: string | undefined, { wait }: WaitOption, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  if (id !== undefined && wait) await showEnd(context, api, id);
  else if (id !== undefined) showStatus(context, await api.status(id));
  else if (wait)
    throw new Failure('USAGE_WRONG', 'permanent', 'Say which one to wait for: snapshotd status 7 --wait.');
  else await showWhatRuns(context, api);
}

async function showWhatRuns(context: Context, api: Api): Promise<void> {
  const all = { limit: 100, offset: 0 };
  // In this order, or one that begins in between would be missing.
  const waiting = (await api.daemons(all, 'STARTED')).daemons;
  const running = (await api.daemons(all, 'IN_PROGRESS')).daemons;
  const daemons = new Map([...waiting, ...running].map((status) => [status.id, status]));
  const { url, email = null } = context.server;
  const who = `${url}, ${email === null ? 'with SNAPSHOTD_TOKEN' : `logged in as ${email}`}`;
  const what = daemons.size === 0 ? 'Nothing waits or runs.' : daemonTable([...daemons.values()]);
  context.result({ url, email, daemons: [...daemons.values()] }, `${who}\n${what}`);
}

async function terminate(id: string, { wait }: WaitOption, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  await api.terminate(id);
  const status = wait ? await watched(api, id) : await api.status(id);
  if (!context.json && !hasEnded(status)) context.result(status, `${status.type} ${id} is told to end.`);
  else showStatus(context, status);
}

async function showEnd(context: Context, api: Api, id: string): Promise<void> {
  const status = await watched(api, id);
  showStatus(context, status);
  expectCompleted(status);
}

/** Daemons as a list shows them. */
export function daemonTable(daemons: DaemonStatus[]): string {
  return formatTable(
    ['ID', 'TYPE', 'STATUS', 'STARTED', 'TOOK', 'BY', 'MESSAGE'],
    daemons.map((status) => [
      status.id,
      status.type,
      status.status,
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

function collectedPair(value: string, before: Record<string, string> = {}): Record<string, string> {
  const [, from, to] = /^([^=]+)=([^=]+)$/.exec(value) ?? [];
  if (from === undefined || to === undefined)
    throw new InvalidArgumentError('Write it as repository=repository_copy.');
  return { ...before, [from]: to };
}
