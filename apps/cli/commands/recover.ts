import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { Failure, formatCount, formatDuration } from '#common';
import type { GlobalOptions } from '../context.js';
import { type Amber, formatFields, formatTime, printable } from '../format.js';
import { Output } from '../output.js';
import { showingProgress } from '../progress-display.js';
import type { RecoverReport } from '../recover/recover-archive.js';

const DEFAULT_JOBS = Math.min(availableParallelism(), 4);
const MOST_JOBS = 32;

/** Each of them must drop the unfinished database. */
const SIGNALS: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

interface RecoverCommandOptions extends GlobalOptions {
  to: string;
  jobs: number;
  createRoles?: true;
  privilegedRoles?: true;
  owner: boolean;
  locale?: string;
  maintenanceDb: string;
  cleanUp?: true;
}

export function addRecoverCommand(program: Command): void {
  program
    .command('recover')
    .description('build a database from an archive alone: without the API, the queue and the accounts')
    .argument(
      '[archive]',
      'a file, s3://bucket/key, or latest: the newest archive among those that verified best',
    )
    .requiredOption('--to <url>', "the server's PostgreSQL URL, with the name of the new database")
    .addOption(
      new Option('--jobs <count>', 'how many connections load in parallel')
        .default(DEFAULT_JOBS, 'the number of CPUs, at most 4')
        .argParser(jobs),
    )
    .option('--create-roles', 'create missing roles, without a login and without privileges over the server')
    .option('--privileged-roles', 'with --create-roles: keep SUPERUSER, CREATEROLE and the like')
    .option(
      '--no-owner',
      'let everything belong to the user of the URL, and leave out rights of missing roles',
    )
    .option(
      '--locale <locale>',
      "a libc locale, if the server lacks the archive's: texts are sorted differently",
    )
    .option('--maintenance-db <name>', 'an existing database to connect to first', 'postgres')
    .option('--clean-up', 'only drop the unfinished databases of recovers that were killed')
    .action(recover)
    .addHelpText(
      'after',
      `
The database has a temporary name until it is complete: it appears under its own name, or not at all. Ctrl-C drops it.
An empty database of that name is filled instead, by one connection in one transaction: drop it to load in parallel.
Recover as a superuser, to restore owners, rights and extensions exactly. The password may be in the URL, in PGPASSWORD
or in ~/.pgpass.

Environment, for s3:// and latest:
  S3_BUCKET, S3_PREFIX    where latest looks
  S3_ENDPOINT, AWS_…      the object store and its credentials, as a worker takes them
  SECRET_KEY              the installation's key, without which latest cannot tell verified archives from others

Examples:
  snapshotd recover monday.zip --to postgres://postgres@db.example.org/shop --create-roles
  snapshotd recover s3://archives/shop/BackupDaemonJob1-107249060429899939.zip --to postgres://postgres@localhost/shop
  snapshotd recover latest --to postgres://postgres@localhost/shop_copy --no-owner
  snapshotd recover --clean-up --to postgres://postgres@localhost/`,
    );
}

async function recover(
  archive: string | undefined,
  options: RecoverCommandOptions,
  command: Command,
): Promise<void> {
  const output = new Output(command.optsWithGlobals<GlobalOptions>().json ?? false);
  const { cleanUp = false, createRoles = false, privilegedRoles = false, owner } = options;
  if (cleanUp !== (archive === undefined))
    throw wrong(cleanUp ? '--clean-up takes no archive.' : 'Name an archive, or use --clean-up.');
  if (createRoles && !owner) throw wrong('--create-roles and --no-owner exclude each other.');
  if (privilegedRoles && !createRoles) throw wrong('--privileged-roles needs --create-roles.');
  // Loaded on demand: the engine brings packages that the other commands do without.
  const engine = await import('../recover/recover-archive.js');
  if (archive === undefined) {
    const interruption = { signals: SIGNALS, message: 'Interrupted.' };
    const { dropped, inUse } = await showingProgress(formatCount, interruption, (_display, signal) =>
      engine.cleanUp(options, signal),
    );
    output.result({ dropped, inUse }, cleanUpText(dropped, inUse));
    return;
  }
  const interruption = { signals: SIGNALS, message: 'Interrupted: the database was not created.' };
  const { to, jobs: parallelJobs, locale, maintenanceDb } = options;
  const request = {
    ...{ archive, to, maintenanceDb, parallelJobs, locale, createRoles, privilegedRoles },
    noOwner: !owner,
  };
  const report = await showingProgress(formatCount, interruption, async (display, signal) => {
    let total = 0;
    const done = await engine.recoverArchive(request, {
      found: ({ name, reason, takenOn, database }) =>
        display.say(
          printable(
            `Recovering from ${name}, taken on ${formatTime(takenOn)} from ${database}. ${reason ?? ''}`.trimEnd(),
          ),
        ),
      report: (progress) => {
        ({ total } = progress);
        display.update({ ...progress, done: progress.current, finished: false });
      },
      foreseen: (text) => display.say(printable(text)),
      delayed: (text) => display.say(printable(text)),
      signal,
    });
    display.update({ done: total, total, message: 'Finished: RECOVER', finished: true });
    return done;
  });
  output.result(report, reportText(report));
}

type Field = [name: string, value: string | Amber];

function reportText(report: RecoverReport): string {
  const { createdRoles } = report;
  return formatFields([
    ['database', report.database],
    ['archive', report.archive],
    ['taken', formatTime(report.takenOn)],
    ['schemas', formatCount(report.schemas)],
    ['tables', formatCount(report.tables)],
    ['rows', formatCount(report.entities)],
    ['large objects', formatCount(report.largeObjects)],
    ['roles created', createdRoles.length === 0 ? 'none' : createdRoles.join(', ')],
    ...(report.losses.length === 0 ? [['lost', 'nothing'] satisfies Field] : []),
    ...report.losses.map((loss): Field => ['lost', { amber: loss }]),
    ...report.omissions.map(({ what, why }): Field => ['archive omits', { amber: `${what}: ${why}` }]),
    ['took', formatDuration(report.totalTimeMS)],
  ]);
}

function cleanUpText(dropped: string[], inUse: string[]): string {
  return [
    ...(dropped.length + inUse.length === 0 ? ['There are no unfinished databases.'] : []),
    ...dropped.map((name) => `${name}: dropped`),
    ...inUse.map((name) => `${name}: in use`),
  ].join('\n');
}

function wrong(message: string): Failure {
  return new Failure('USAGE_WRONG', 'permanent', message, { hint: 'See snapshotd recover --help.' });
}

function jobs(value: string): number {
  if (!/^\d{1,2}$/.test(value) || Number(value) < 1 || Number(value) > MOST_JOBS)
    throw new InvalidArgumentError(`Give a whole number from 1 to ${MOST_JOBS}.`);
  return Number(value);
}
