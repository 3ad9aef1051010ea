import { basename } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { Failure, formatBytes, formatDuration, nameOmissions, remarksOf } from '#common';
import { type Archive, DEFAULT_REPOSITORY } from '#contracts';
import type { Page } from '../api.js';
import { Context } from '../context.js';
import { downloadFile, downloadTo, refuseExisting } from '../download.js';
import { formatTable, formatTime, printable } from '../format.js';
import { latestArchive, resolveLatest } from '../latest.js';
import { confirmName } from '../prompt.js';
import { showingProgress } from '../progress-display.js';
import { jobTable } from './jobs.js';

/** Ctrl-C, a script and a terminal that closes: each must remove the partial file. */
const INTERRUPTION = {
  signals: ['SIGINT', 'SIGTERM', 'SIGHUP'] as NodeJS.Signals[],
  message: 'Download interrupted. The partial file is removed.',
};

interface ListOptions extends Page {
  daemons?: true;
}

interface DownloadCommandOptions {
  repository?: string;
  output?: string;
  force?: true;
}

export function addArchiveCommands(program: Command): void {
  program
    .command('list')
    .description('list the archives in the bucket, newest first')
    .option('--daemons', 'list backups, restores and verifications instead')
    .option('--repository <name>', 'only those of this repository')
    .option('--limit <count>', 'how many to show, at most 100', wholeNumber, 20)
    .option('--offset <count>', 'how many to skip', wholeNumber, 0)
    .action(list)
    .addHelpText(
      'after',
      `
Examples:
  snapshotd list
  snapshotd list --repository crm
  snapshotd list --daemons --limit 5
  snapshotd list --json | jq -r '.backups[0].name'`,
    );
  program
    .command('latest')
    .description('print the name of the newest archive')
    .option('--repository <name>', "of this repository (default: the settings' own)")
    .option('--verified', 'the newest one that has passed a verification')
    .action(async (options: { repository?: string; verified?: true }, command: Command) => {
      const context = new Context(command);
      const archive = await latestArchive(context.api(), options.repository, options.verified);
      context.result(archive, archive.name);
    })
    .addHelpText(
      'after',
      `
It skips archives that are damaged, or that a verification has found not restorable. restore, verify and download take
the word latest for the same archive, and with --repository for that of another repository.

Examples:
  snapshotd latest
  snapshotd restore "$(snapshotd latest --repository crm)" --repository staging --other-database --wait
  snapshotd verify latest --level DRILL --wait
  snapshotd latest --verified --json | jq .takenOn`,
    );
  program
    .command('download')
    .description('download an archive; the file appears only when it is complete')
    .argument('<archive>', "the archive's name, from snapshotd list, or latest")
    .option('--repository <name>', 'with latest: the archive of this repository')
    .option('-o, --output <file>', "the file to write, or - for stdout (default: the archive's name)")
    .option('--force', 'replace an existing file')
    .action(download)
    .addHelpText(
      'after',
      `
The file holds all rows, so only you can read it. This machine must reach the object store.

Examples:
  snapshotd download latest
  snapshotd download BackupDaemonJob1-107249060429899939.zip -o /mnt/offsite/monday.zip
  snapshotd download BackupDaemonJob1-107249060429899939.zip -o - | ssh elsewhere 'cat > monday.zip'`,
    );
  program
    .command('delete')
    .description('delete an archive and the record of its verification')
    .argument('<archive>', "the archive's name, from snapshotd list")
    .option('--yes', 'do not ask for confirmation')
    .action(deleteArchive)
    .addHelpText(
      'after',
      `
At a terminal, it asks you to type the name; without a terminal it needs --yes. Archives that a job reads are refused.

Example:
  snapshotd delete BackupDaemonJob1-107249060429899939.zip`,
    );
}

async function deleteArchive(name: string, { yes }: { yes?: true }, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  if (yes === undefined)
    await confirmName(name, 'archive', {
      short: 'This deletes an archive.',
      full: `This deletes an archive at ${api.server.url} with all of its rows.`,
      nothing: 'Nothing was deleted.',
    });
  await api.deleteArchive(name);
  context.result({ name }, `${printable(name)} deleted.`);
}

async function list({ daemons, ...page }: ListOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  if (daemons) {
    const answer = await api.daemons(page);
    context.result(answer, answer.total === 0 ? 'No jobs.' : jobTable(answer.daemons));
    noteRest(context, page, answer.daemons.length, answer.total);
  } else {
    const answer = await api.archives(page);
    context.result(answer, answer.total === 0 ? 'No archives.' : archiveTable(answer.backups));
    noteRest(context, page, answer.backups.length, answer.total);
  }
}

/** Tells how to see the next page, if there is one. */
function noteRest(context: Context, { offset }: Page, shown: number, total: number): void {
  const next = offset + shown;
  if (shown > 0 && next < total) context.note(`${total} in total. For the next page: --offset ${next}`);
}

function archiveTable(archives: Archive[]): string {
  const isRemarked = archives.some((archive) => remarksOf(archive) !== undefined);
  const isNamed = archives.some(({ repository }) => repository !== DEFAULT_REPOSITORY);
  const table = formatTable(
    [
      'NAME',
      ...(isNamed ? ['REPOSITORY'] : []),
      'TAKEN',
      'SIZE',
      'ENTITIES',
      'VERIFIED',
      ...(isRemarked ? ['REMARKS'] : []),
    ],
    archives.map(({ name, repository, takenOn, createdOn, bytes, entities, ...archive }) => [
      name,
      ...(isNamed ? [repository] : []),
      formatTime(takenOn ?? createdOn),
      formatBytes(bytes),
      entities ?? '-',
      verified(archive),
      ...(isRemarked ? [{ amber: remarks(archive) }] : []),
    ]),
  );
  const problems = archives.flatMap(({ name, problem }) =>
    problem === null ? [] : [printable(`${name}: ${problem}`)],
  );
  return [table, ...problems].join('\n');
}

function remarks({ omissions, warnings }: Pick<Archive, 'omissions' | 'warnings'>): string {
  return [
    ...(omissions?.length ? [`omits ${nameOmissions(omissions)}`] : []),
    ...(warnings?.length ? [warnings.length === 1 ? '1 warning' : `${warnings.length} warnings`] : []),
  ].join('; ');
}

function verified({
  verifiedOn,
  restorable,
  verification,
}: Pick<Archive, 'verifiedOn' | 'restorable' | 'verification'>) {
  if (verifiedOn === null || verification === null) return 'never';
  const { level, durationMs, reached } = verification;
  return [
    formatTime(verifiedOn),
    restorable === false ? `${level}: NOT RESTORABLE` : level,
    ...(durationMs === null ? [] : [formatDuration(durationMs)]),
    ...(reached === null || reached === level ? [] : [`${reached} before`]),
  ].join(', ');
}

async function download(given: string, options: DownloadCommandOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const name = await resolveLatest(context.api(), given, options.repository);
  const { output = basename(name), force } = options;
  const toOutput = output === '-';
  if (toOutput && context.json)
    throw new Failure(
      'USAGE_WRONG',
      'permanent',
      'Cannot write both the archive and the JSON of --json to stdout.',
    );
  if (toOutput && process.stdout.isTTY)
    throw new Failure('USAGE_WRONG', 'permanent', 'Refusing to write binary data to a terminal.', {
      hint: 'Redirect stdout to a file or pipe.',
    });
  if (!toOutput && !force) refuseExisting(output);
  const address = await context.api().downloadUrl(name);
  const message = basename(name);
  const bytes = await showingProgress(formatBytes, INTERRUPTION, (display, signal) => {
    const onProgress = (done: number, total: number) =>
      display.update({ done, total, message, finished: done === total });
    return toOutput
      ? downloadTo(address, process.stdout, { onProgress, signal })
      : downloadFile(address, output, { onProgress, signal });
  });
  if (!toOutput) context.result({ name, file: output, bytes }, `${output}: ${formatBytes(bytes)}`);
}

function wholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('Give a whole number.');
  return Number(value);
}
