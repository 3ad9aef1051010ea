import { execFile, execFileSync } from 'node:child_process';
import { accessSync, constants, copyFileSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { servers, sql } from './servers.js';

const run = promisify(execFile);
export const CASES_FOLDER = join(__dirname, '../cases');

/** A file of test/cases. */
export interface DatabaseCase {
  name: string;
  file: string;
  want: 'whole' | 'inplace' | 'honest' | 'refused' | 'told';
  /** For `told`: the pattern of the omissions. */
  told: RegExp;
  schemas: string[] | undefined;
  role: string | undefined;
  /** Settings that need a separate server. */
  settings: Record<string, string> | undefined;
  /** Whether all tables are truncated and all sequences moved. */
  spoilsAll: boolean;
  /** Further statements that spoil the database. */
  spoil: string;
  /** Whether it is also restored into an empty database. */
  onEmpty: boolean;
}

export function databaseCases(): DatabaseCase[] {
  return readdirSync(CASES_FOLDER)
    .filter((file) => file.endsWith('.sql') && !file.includes('--'))
    .map(readCase);
}

function readCase(name: string): DatabaseCase {
  const file = join(CASES_FOLDER, name);
  const heads = new Map(
    [...readFileSync(file, 'utf8').matchAll(/^-- (\w+): (.*)$/gm)].map(([, head = '', text = '']) => [
      head,
      text,
    ]),
  );
  const [want = '', told = '$.'] = heads.get('want')?.split(/:(.*)/) ?? [];
  const spoil = heads.get('spoil') ?? '';
  return {
    name: name.replace('.sql', ''),
    file,
    want: want as DatabaseCase['want'],
    told: new RegExp(told),
    schemas: heads.get('schemas')?.split(','),
    role: heads.get('role'),
    settings: heads.has('server') ? Object.fromEntries([heads.get('server')?.split(' = ') ?? []]) : undefined,
    spoilsAll: !spoil.startsWith('none'),
    spoil: spoil.replace(/^none/, ''),
    onEmpty: heads.get('empty') !== 'no' && want !== 'inplace' && want !== 'refused',
  };
}

/** Builds the case with psql, statement by statement. One case contains a unique index that cannot be built. */
export async function build({ file }: DatabaseCase, url: string): Promise<void> {
  const { stderr } = await run(program('psql'), ['-X', '-q', '-f', file, url]);
  const errors = stderr
    .split('\n')
    .filter((line) => /ERROR|FATAL/.test(line) && !line.includes('could not create unique index'));
  if (errors.length > 0) throw new Error(errors.join('\n'));
}

/** Builds a database from another one's schema definitions, without rows. */
export async function buildFromDump(from: string, to: string): Promise<void> {
  const file = join(mkdtempSync(join(servers.folder, 'schema-')), 'schema.sql');
  await run(program('pg_dump'), ['-s', '-f', file, from]);
  await run(program('psql'), ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', file, to]);
}

/** Puts the files of a small extension where the server finds them. */
export async function addExtension(server: string): Promise<void> {
  const [folder] = await sql<{ share: string }>(
    server,
    `SELECT setting AS share FROM pg_config WHERE name = 'SHAREDIR'`,
  );
  const target = join(folder?.share ?? '', 'extension');
  accessSync(target, constants.W_OK);
  for (const file of readdirSync(CASES_FOLDER))
    if (file.startsWith('fidcfg')) copyFileSync(join(CASES_FOLDER, file), join(target, file));
}

/** The folder of the extensions of Debian's server. */
export function debianExtensions(): string {
  return join(execFileSync(program('pg_config'), ['--sharedir'], { encoding: 'utf8' }).trim(), 'extension');
}

function program(name: string): string {
  return join(servers.debianPostgres?.binaries ?? '', name);
}
