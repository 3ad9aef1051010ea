import type { Command } from 'commander';
import { Failure } from '#common';
import type { Change, Step } from '../apply/plan.js';
import { Context } from '../context.js';
import { DIFFERENT } from '../exit-codes.js';
import { printable } from '../format.js';
import { ask, canAsk } from '../prompt.js';

interface ApplyOptions {
  file: string;
  dryRun?: true;
  exitCode?: true;
  prune?: true;
  yes?: true;
}

const SIGNS = { create: '+', change: '~', delete: '-' } as const;
const DONE = { create: 'created', change: 'changed', delete: 'deleted' } as const;

export function addApplyCommands(program: Command): void {
  program
    .command('apply')
    .description('set repositories and schedules as a file declares them')
    .requiredOption('-f, --file <file>', 'a YAML file, or - for stdin')
    .option('--dry-run', 'only show what would change')
    .option('--exit-code', 'with --dry-run: exit with 6 if something would change')
    .option('--prune', 'delete repositories and schedules that the file does not declare')
    .option('--yes', 'with --prune: do not ask for confirmation')
    .action(apply)
    .addHelpText(
      'after',
      `
The file:
  repositories:
    crm:
      url: {env: CRM_URL}               or {file: crm.secret}, which is beside this file, or the URL itself
      excludeTables: [public.cache_*]   and schemas, excludeSchemas, excludeTableRows, jobs, definitions, drillUrl,
                                        prefix, adopt
  schedules:
    nightly:
      repository: crm
      pattern: '30 2 * * *'
      timeZone: Europe/Berlin
      then: DRILL
      retention: {daily: 7, weekly: 5}

Settings that the file does not name get their defaults. A repository without a url, or whose variable is not set, keeps
its URL. The server checks everything before anything changes, and compares the URLs with those that it knows.
Apply says nothing changed if that is so. It deletes nothing without --prune, and even then nothing of a kind for which
the file has no section. An unknown key is an error.

Examples:
  snapshotd apply -f snapshotd.yml --dry-run
  CRM_URL="$(cat /run/secrets/crm)" snapshotd apply -f snapshotd.yml
  snapshotd export > snapshotd.yml`,
    );
  program
    .command('export')
    .description('print the repositories and schedules as a file for apply, without secrets')
    .action(printConfiguration)
    .addHelpText(
      'after',
      `
The URL of each repository is a variable in the file, such as {env: CRM_URL}.

Example:
  snapshotd export > snapshotd.yml`,
    );
}

async function apply(options: ApplyOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const { file, dryRun = false, exitCode = false, prune = false, yes = false } = options;
  if (exitCode && !dryRun) throw wrong('--exit-code needs --dry-run.');
  // Loaded on demand: the other commands need no YAML.
  const { readConfiguration } = await import('../apply/configuration-file.js');
  const { planOf } = await import('../apply/plan.js');
  const declared = await readConfiguration(file);
  const note = (text: string) => context.note(text);
  const steps = await planOf(context.api(), declared, { file, prune, note });
  const changes = steps.map(({ change }) => change);
  const deleted = changes.filter(({ action }) => action === 'delete');
  if (!dryRun) {
    if (deleted.length > 0 && !yes) await confirm(deleted);
    await run(steps);
  } else if (exitCode && steps.length > 0) process.exitCode = DIFFERENT;
  context.result({ dryRun, changes }, planText(changes, dryRun));
}

/** @throws Failure that says how far it came */
async function run(steps: Step[]): Promise<void> {
  let done = 0;
  try {
    for (const step of steps) {
      await step.run();
      done++;
    }
  } catch (error) {
    if (!(error instanceof Failure) || done === 0) throw error;
    throw error.and(`${done} of ${steps.length} changes were made: run it again for the others.`);
  }
}

/** @throws Failure USAGE_WRONG if there is no terminal, NOT_CONFIRMED, INTERRUPTED */
async function confirm(deleted: Change[]): Promise<void> {
  const names = deleted.map(({ kind, name }) => `${kind} ${name}`).join(', ');
  if (!canAsk())
    throw new Failure('USAGE_WRONG', 'permanent', `This deletes ${names}.`, {
      hint: 'Without a terminal to confirm at, it needs --yes.',
    });
  process.stderr.write(`This deletes ${printable(names)}. Archives stay.\n`);
  if ((await ask('Type delete to confirm: ')).trim() !== 'delete')
    throw new Failure('NOT_CONFIRMED', 'permanent', 'Not confirmed. Nothing was changed.');
}

function planText(changes: Change[], dryRun: boolean): string {
  if (changes.length === 0) return dryRun ? 'Nothing would change.' : 'Nothing changed.';
  const counts = (['create', 'change', 'delete'] as const).flatMap((action) => {
    const count = changes.filter((change) => change.action === action).length;
    return count === 0 ? [] : [`${count} ${DONE[action]}`];
  });
  return [
    ...changes.flatMap(({ action, kind, name, fields }) => [
      printable(`${SIGNS[action]} ${kind} ${name}`),
      ...fields.map(({ field, from, to }) =>
        printable(`    ${field}: ${from === null ? '' : `${shown(from)} -> `}${shown(to)}`),
      ),
    ]),
    dryRun ? `Dry run, would be: ${counts.join(', ')}.` : `${counts.join(', ')}.`,
  ].join('\n');
}

function shown(value: unknown): string {
  return value === null ? 'none' : typeof value === 'string' ? value : JSON.stringify(value);
}

async function printConfiguration(_options: object, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  const { configurationOf, toYaml } = await import('../apply/export.js');
  const { repositories } = await api.repositories();
  const { schedules } = await api.schedules();
  const configuration = configurationOf(repositories, schedules);
  context.result(configuration, toYaml(configuration, repositories, api.server.url));
}

function wrong(message: string): Failure {
  return new Failure('USAGE_WRONG', 'permanent', message, { hint: 'See snapshotd apply --help.' });
}
