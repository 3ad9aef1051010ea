import { type Command, InvalidArgumentError, Option } from 'commander';
import { Failure } from '#common';
import { DEFAULT_REPOSITORY, type RepositoryView } from '#contracts';
import type { Api, RepositorySettings } from '../api.js';
import { Context } from '../context.js';
import { formatFields, formatTable, formatTarget, formatTime, printable } from '../format.js';
import { askHidden, canAsk, confirmName } from '../prompt.js';
import { readSecret } from '../secret-source.js';

const NAME = ['<name>', 'a-z, 0-9, hyphens and underscores'] as const;
const MOST_JOBS = 32;

interface SetOptions {
  databaseUrl?: string;
  databaseUrlFile?: string;
  databaseUrlEnv?: string;
  schema?: string[];
  excludeSchema?: string[];
  excludeTable?: string[];
  excludeTableRows?: string[];
  jobs?: number | 'default';
  definitions?: NonNullable<RepositoryView['definitions']> | 'default';
  /** False with --no-drill-url. */
  drillUrl?: string | false;
  drillUrlFile?: string;
  drillUrlEnv?: string;
  prefix?: string;
  adopt?: true;
}

export function addRepositoryCommands(program: Command): void {
  const repository = program
    .command('repository')
    .description('manage the databases that this installation backs up')
    .addHelpText(
      'after',
      `
Examples:
  snapshotd repository set crm --database-url-file /run/secrets/crm
  snapshotd backup --repository crm --wait
  snapshotd repository list`,
    );
  repository
    .command('list')
    .description('list all repositories')
    .action(async (_options: object, command: Command) => {
      const context = new Context(command);
      const answer = await context.api().repositories();
      context.result(answer, repositoryTable(answer.repositories));
    })
    .addHelpText('after', '\nExample:\n  snapshotd repository list');
  repository
    .command('show')
    .description('show a repository')
    .argument(...NAME)
    .action(async (name: string, _options: object, command: Command) => {
      const context = new Context(command);
      showRepository(context, await context.api().repository(name));
    })
    .addHelpText('after', '\nExample:\n  snapshotd repository show crm');
  addSet(repository);
  repository
    .command('delete')
    .description('delete a repository and its URL; its archives stay')
    .argument(...NAME)
    .option('--yes', 'do not ask for confirmation')
    .action(remove)
    .addHelpText(
      'after',
      `
At a terminal, it asks you to type the name; without a terminal it needs --yes. The archives stay listed, and can be
restored into other repositories.

Example:
  snapshotd repository delete crm`,
    );
}

function addSet(repository: Command): void {
  repository
    .command('set')
    .description('add a repository, or change the named options of the one of this name')
    .argument(...NAME)
    .option('--database-url-file <file>', 'read the URL of the database from a file, or from stdin: -')
    .option('--database-url-env <variable>', 'read the URL of the database from an environment variable')
    .addOption(
      new Option(
        '--database-url <url>',
        'the URL of the database; others on this machine can see it',
      ).conflicts(['databaseUrlFile', 'databaseUrlEnv']),
    )
    .option('--schema <name>', 'a schema to back up, or * for all; repeat it for more', collected)
    .option('--exclude-schema <pattern>', 'schemas to exclude; repeat it for more', collected)
    .option('--exclude-table <schema.table>', 'a pattern of tables to exclude; repeat it for more', collected)
    .option(
      '--exclude-table-rows <schema.table>',
      'a pattern of tables whose rows to exclude; repeat it for more',
      collected,
    )
    .option('--jobs <count>', 'how many connections read in parallel; default: BACKUP_JOBS', jobsOrDefault)
    .addOption(
      new Option('--definitions <mode>', 'schema definitions; default: BACKUP_DEFINITIONS').choices([
        'auto',
        'required',
        'off',
        'default',
      ]),
    )
    .option('--drill-url-file <file>', 'read the URL of the server for drills from a file, or from stdin: -')
    .option(
      '--drill-url-env <variable>',
      'read the URL of the server for drills from an environment variable',
    )
    .addOption(
      new Option('--drill-url <url>', 'the URL of the server for drills; others can see it').conflicts([
        'drillUrlFile',
        'drillUrlEnv',
      ]),
    )
    .option('--no-drill-url', 'run drills on DRILL_URL, or on the server of the repository')
    .option(
      '--prefix <folder>',
      'the folder of its archives below S3_PREFIX, which cannot change (default: <name>/)',
    )
    .option('--adopt', 'accept archives that its folder holds already')
    .action(set)
    .addHelpText(
      'after',
      `
Options that you do not name keep their values. An empty value, such as --exclude-table '', clears a list.

Give the URL of a new repository in a file, through stdin or in an environment variable: others on this machine can
read the arguments of commands. At a terminal, set asks for it. It is stored sealed, and nobody is shown it again.

Examples:
  snapshotd repository set crm --database-url-file /run/secrets/crm
  pass show crm | snapshotd repository set crm --database-url-file -
  snapshotd repository set crm --schema crm --exclude-table 'crm.cache_*'
  snapshotd repository set crm --jobs 4 --definitions required`,
    );
}

async function set(name: string, options: SetOptions, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  if (options.databaseUrlFile === '-' && options.drillUrlFile === '-')
    throw wrong('Stdin holds one URL only.');
  const present = await find(api, name);
  const { schema, excludeSchema, excludeTable, excludeTableRows, jobs, definitions, prefix, adopt } = options;
  const url = await urlOf(context, name, options, present === undefined);
  const drillUrl = await drillUrlOf(context, options);
  showRepository(
    context,
    await api.setRepository(name, {
      ...(present !== undefined && settingsOf(present)),
      ...(url !== undefined && { url }),
      ...(schema && { schemas: schema }),
      ...(excludeSchema && { excludeSchemas: excludeSchema }),
      ...(excludeTable && { excludeTables: excludeTable }),
      ...(excludeTableRows && { excludeTableRows }),
      ...(jobs !== undefined && { jobs: jobs === 'default' ? null : jobs }),
      ...(definitions && { definitions: definitions === 'default' ? null : definitions }),
      ...(drillUrl !== undefined && { drillUrl }),
      ...(prefix !== undefined && { prefix }),
      ...(adopt && { adopt }),
    }),
  );
}

/** @returns undefined if there is none */
async function find(api: Api, name: string): Promise<RepositoryView | undefined> {
  try {
    return await api.repository(name);
  } catch (error) {
    if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** The settings of a repository as a request takes them, without its URLs, which are kept. */
function settingsOf(repository: RepositoryView): RepositorySettings {
  const { schemas, excludeSchemas, excludeTables, excludeTableRows, jobs, definitions } = repository;
  return { schemas, excludeSchemas, excludeTables, excludeTableRows, jobs, definitions };
}

/** @throws Failure USAGE_WRONG, FILE_REFUSED, INTERRUPTED */
async function urlOf(
  context: Context,
  name: string,
  { databaseUrl: url, databaseUrlFile: file, databaseUrlEnv: env }: SetOptions,
  isNeeded: boolean,
): Promise<string | undefined> {
  if (url !== undefined) return visible(context, url, '--database-url');
  if (file !== undefined) return readSecret({ file });
  if (env !== undefined) return readSecret({ env });
  if (!isNeeded) return undefined;
  if (!canAsk())
    throw wrong(`The new repository ${name} needs the URL of its database: --database-url-file.`);
  return (await askHidden(`URL of the database of ${name} (not shown): `)).trim();
}

/** @returns null for none @throws Failure USAGE_WRONG, FILE_REFUSED */
async function drillUrlOf(
  context: Context,
  { drillUrl: url, drillUrlFile: file, drillUrlEnv: env }: SetOptions,
): Promise<string | null | undefined> {
  if (file !== undefined) return readSecret({ file });
  if (env !== undefined) return readSecret({ env });
  return url === false ? null : url && visible(context, url, '--drill-url');
}

function visible(context: Context, url: string, option: string): string {
  if (/^\w+:\/\/[^/]*:[^/]*@/.test(url))
    context.note(
      `Warning: others on this machine can read the password in the arguments of commands. Use ${option}-file.`,
    );
  return url;
}

async function remove(name: string, { yes }: { yes?: true }, command: Command): Promise<void> {
  const context = new Context(command);
  const api = context.api();
  if (yes === undefined)
    await confirmName(name, 'repository', {
      short: 'This deletes a repository and its URL.',
      full: `This deletes the repository ${printable(name)} and its URL at ${api.server.url}. Its archives stay.`,
      nothing: 'Nothing was deleted.',
    });
  await api.deleteRepository(name);
  context.result({ name }, `Repository ${name} deleted. Its archives stay.`);
}

function showRepository(context: Context, repository: RepositoryView): void {
  const { name, target, drillTarget, excludeSchemas, excludeTables, excludeTableRows } = repository;
  const { jobs, definitions, prefix, createdBy, createdOn } = repository;
  const listed = (names: string[]) => (names.length === 0 ? null : names.join(', '));
  context.result(
    repository,
    formatFields([
      ['name', name],
      ['database', target && formatTarget(target)],
      ['schemas', schemaText(repository)],
      ['excludes', listed([...excludeSchemas.map((pattern) => `schema ${pattern}`), ...excludeTables])],
      ['without rows', listed(excludeTableRows)],
      ['jobs', jobs === null ? null : String(jobs)],
      ['definitions', definitions],
      ['drills on', drillTarget && formatTarget(drillTarget)],
      ['folder', prefix === '' ? null : prefix],
      [
        'created',
        createdBy === null || createdOn === null
          ? 'by the settings of the workers'
          : `${formatTime(createdOn)} by ${createdBy}`,
      ],
    ]),
  );
}

function repositoryTable(repositories: RepositoryView[]): string {
  return formatTable(
    ['NAME', 'DATABASE', 'SCHEMAS', 'FOLDER'],
    repositories.map((repository) => [
      repository.name,
      repository.target === null ? '-' : formatTarget(repository.target),
      schemaText(repository),
      repository.name === DEFAULT_REPOSITORY ? '-' : repository.prefix,
    ]),
  );
}

function schemaText({ schemas }: RepositoryView): string {
  return schemas.length === 1 && schemas[0] === '*' ? 'all' : schemas.join(', ');
}

function wrong(message: string): Failure {
  return new Failure('USAGE_WRONG', 'permanent', message, { hint: 'See snapshotd repository --help.' });
}

/** Collects repeated values. An empty one clears the list. */
function collected(value: string, before: string[] = []): string[] {
  return value === '' ? [] : [...before, value];
}

function jobsOrDefault(value: string): number | 'default' {
  if (value === 'default') return value;
  if (!/^\d{1,2}$/.test(value) || Number(value) < 1 || Number(value) > MOST_JOBS)
    throw new InvalidArgumentError(`Give a whole number from 1 to ${MOST_JOBS}, or default.`);
  return Number(value);
}
