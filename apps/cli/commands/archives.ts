import { basename } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { Failure } from '#common';
import { type Archive } from '#contracts';
import type { Page } from '../api.js';
import { Context } from '../context.js';
import { downloadFile, type DownloadOptions, downloadTo, refuseExisting } from '../download.js';
import { formatBytes, formatTable, formatTime, printable } from '../format.js';
import { ProgressDisplay } from '../progress-display.js';
import { daemonTable } from './daemons.js';

interface ListOptions extends Page {
  daemons?: true;
}

interface DownloadCommandOptions {
  output?: string;
  force?: true;
}

export function addArchiveCommands(program: Command): void {
  program
    .command('list')
    .description('list the archives in the bucket, newest first')
    .option('--daemons', 'list backups, restores and verifications instead')
    .option('--limit <count>', 'how many at most, up to 100', wholeNumber, 20)
    .option('--offset <count>', 'how many to leave out before', wholeNumber, 0)
    .action(list)
    .addHelpText(
      'after',
      `
Examples:
  snapshotd list
  snapshotd list --daemons --limit 5
  snapshotd list --json | jq -r '.backups[0].name'`,
    );
  program
    .command('download')
    .description('load an archive into a file, which is there whole or not at all')
    .argument('<archive>', 'its name, as list shows it')
    .option(
      '-o, --output <file>',
      "where to put it, - for the standard output; the archive's name when missing",
    )
    .option('--force', 'replace a file that is there already')
    .action(download)
    .addHelpText(
      'after',
      `
Only you can read the file: it holds all rows. The object store must be reachable from here.

Examples:
  snapshotd download BackupDaemonJob1-107249060429899939.zip
  snapshotd download BackupDaemonJob1-107249060429899939.zip -o /mnt/offsite/monday.zip
  snapshotd download BackupDaemonJob1-107249060429899939.zip -o - | ssh elsewhere 'cat > monday.zip'`,
    );
}

async function list({ daemons, ...page }: ListOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  if (daemons) {
    const answer = await api.daemons(page);
    context.result(answer, answer.total === 0 ? 'There are none.' : daemonTable(answer.daemons));
    noteRest(context, page, answer.daemons.length, answer.total);
  } else {
    const answer = await api.archives(page);
    context.result(answer, answer.total === 0 ? 'There are none.' : archiveTable(answer.backups));
    noteRest(context, page, answer.backups.length, answer.total);
  }
}

/** Says that there are more than are shown. */
function noteRest(context: Context, { offset }: Page, shown: number, total: number): void {
  const next = offset + shown;
  if (shown > 0 && next < total) context.note(`${total} in all: --offset ${next} goes on.`);
}

function archiveTable(archives: Archive[]): string {
  const table = formatTable(
    ['NAME', 'TAKEN', 'SIZE', 'ENTITIES', 'VERIFIED'],
    archives.map(({ name, takenOn, createdOn, bytes, entities, ...archive }) => [
      name,
      formatTime(takenOn ?? createdOn),
      formatBytes(bytes),
      entities ?? '-',
      verified(archive),
    ]),
  );
  const problems = archives.flatMap(({ name, problem }) =>
    problem === null ? [] : [printable(`${name}: ${problem}`)],
  );
  return [table, ...problems].join('\n');
}

function verified({
  verifiedOn,
  verifiedBy,
  restorable,
}: Pick<Archive, 'verifiedOn' | 'verifiedBy' | 'restorable'>) {
  if (verifiedOn === null) return 'never';
  const how = verifiedBy === 'RESTORE_DRILL' ? 'restore drill' : 'read';
  return `${formatTime(verifiedOn)}, ${restorable === false ? 'NOT RESTORABLE' : how}`;
}

async function download(name: string, options: DownloadCommandOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const { output = basename(name), force } = options;
  const toOutput = output === '-';
  if (toOutput && context.json)
    throw new Failure(
      'USAGE_WRONG',
      'permanent',
      'The archive and --json cannot both go to the standard output.',
    );
  if (toOutput && process.stdout.isTTY)
    throw new Failure('USAGE_WRONG', 'permanent', 'An archive is nothing for a terminal.', {
      hint: 'Lead the standard output into a file or a program.',
    });
  if (!toOutput && !force) refuseExisting(output);
  const address = await context.api().downloadUrl(name);
  const bytes = await shown(basename(name), (progress) =>
    toOutput ? downloadTo(address, process.stdout, progress) : downloadFile(address, output, progress),
  );
  if (!toOutput) context.result({ name, file: output, bytes }, `${output}: ${formatBytes(bytes)}`);
}

/** By the user, by a script, and by a terminal that is closed: a part of an archive must not stay behind. */
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** @throws Failure INTERRUPTED */
async function shown<Result>(
  message: string,
  work: (options: DownloadOptions) => Promise<Result>,
): Promise<Result> {
  const display = new ProgressDisplay(process.stderr, formatBytes);
  const interrupted = new AbortController();
  const interrupt = () =>
    interrupted.abort(
      new Failure('INTERRUPTED', 'permanent', 'The archive is not downloaded, and nothing is left of it.'),
    );
  for (const signal of ENDING) process.once(signal, interrupt);
  try {
    return await work({
      onProgress: (done, total) => display.update({ done, total, message, finished: done === total }),
      signal: interrupted.signal,
    });
  } finally {
    for (const signal of ENDING) process.off(signal, interrupt);
    display.end();
  }
}

function wholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('Give a whole number.');
  return Number(value);
}
