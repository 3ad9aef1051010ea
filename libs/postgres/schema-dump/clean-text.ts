import { setImmediate } from 'node:timers/promises';
import { Failure } from '#common';
import type { Omission } from '../catalog/omission.js';
import { splitStatements } from './statements.js';
import {
  isAfterRows,
  SETTING,
  TableOfContents,
  type TocEntry,
  withoutVerboseLines,
} from './table-of-contents.js';

export interface SchemaText {
  /** Creates the objects of the database, without rows and without passwords. */
  schema: SqlFile & { beforeRows: number };
  /** Creates the database itself with its properties. */
  database: SqlFile;
  /** The secrets that were taken out of it. */
  omissions: Omission[];
}

export interface SqlFile {
  sql: Buffer;
  /** Its statements, in their order. */
  statements: ListedStatement[];
}

/** A statement with the object that it belongs to, and its place in its file in bytes. */
export interface ListedStatement extends Omit<TocEntry, 'isOfDatabase'> {
  offset: number;
  length: number;
}

const PAUSE_AFTER_STATEMENTS = 2_000;
const KNOWS_TRANSACTION_TIMEOUT = 17;
const KNOWS_RUN_AS_OWNER = 16;

/** The settings between entries that those after them rely on. */
const SETS_DEFAULT = /^SET default_(tablespace|table_access_method) = /;
/** The kinds of entries that pg_dump sets these defaults for. */
const USES_DEFAULT = new Map([
  ['tablespace', /^((FOREIGN )?TABLE|MATERIALIZED VIEW|INDEX|CONSTRAINT)$/],
  ['table_access_method', /^(TABLE|MATERIALIZED VIEW)$/],
]);
const CONNECTS = /^\\connect /;
/** No name of an object has lines of its own in pg_dump's comments. */
const END = /^-- PostgreSQL database dump complete$/m;
const NAME = String.raw`(?:"(?:[^"]|"")*"|[\w$\x80-\xff]+)`;
const LITERAL = String.raw`(?:'(?:[^']|'')*'|E'(?:[^'\\]|\\[^]|'')*')`;
const COLUMN_OPTIONS = new RegExp(
  String.raw`^(ALTER (?:TABLE|MATERIALIZED VIEW|FOREIGN TABLE)(?: ONLY)? ${NAME}\.${NAME} ALTER COLUMN ${NAME} SET \()([^]*)\);$`,
);
const USER_MAPPING = new RegExp(`^CREATE USER MAPPING FOR (${NAME}) SERVER (${NAME})`);
/** `user` is a reserved word, which pg_dump quotes. */
const USER_OPTION = new RegExp(`^(?:"user"|username) ${LITERAL}$`);
const OPTION = new RegExp(String.raw`(${NAME} ${LITERAL})(?:,\n    |\n\);$)`, 'y');
const SUBSCRIPTION = new RegExp(
  `^(CREATE SUBSCRIPTION (${NAME}) CONNECTION )(${LITERAL})( PUBLICATION [^]*)$`,
);

/**
 * Takes out of pg_dump's text: psql's own commands; settings and options that only some servers know; passwords. Only
 * whole statements are looked at: names, comments and bodies of functions may hold any text. The statements that create
 * the database and set its properties go to a text of their own, because a restore may run the others elsewhere.
 * @param text of `--create --verbose`
 * @param keeps false for objects whose statements are left out
 * @throws Failure DEFINITIONS_FAILED for a statement that may hold a password and is of an unknown form
 */
export async function cleanText(
  text: Buffer,
  serverMajor: number,
  keeps: (entry: TocEntry) => boolean = () => true,
): Promise<SchemaText> {
  const contents = new TableOfContents();
  const [schema, database] = [new SqlText(), new SqlText()];
  const omissions: Omission[] = [];
  let beforeRows: number | undefined;
  let entry: TocEntry | undefined = SETTING;
  let statements = 0;
  // Settings wait for the statement that needs them: it may be left out, and an access method with it.
  const settings = new Map<string, Part>();
  for (const { before, text: statement } of splitStatements(text.toString('latin1'))) {
    // Locks of jobs are renewed meanwhile.
    if (++statements % PAUSE_AFTER_STATEMENTS === 0) await setImmediate();
    const next = contents.entryOf(before, statement);
    if (CONNECTS.test(statement)) entry = undefined;
    if (next !== undefined) entry = next;
    if (statement === '' || END.test(before)) entry = SETTING;
    if (entry === undefined) {
      expectRepeated(statement);
      continue;
    }
    const [, setting] = (next === undefined && SETS_DEFAULT.exec(statement)) || [];
    const of = setting === undefined ? entry : SETTING;
    if (!keeps(of)) continue;
    const part = {
      comments: withoutVerboseLines(before),
      sql: cleanStatement(statement, serverMajor, omissions),
      of,
    };
    if (of.isOfDatabase || entry === SETTING) database.add(part);
    if (of.isOfDatabase) continue;
    if (setting !== undefined) {
      settings.set(setting, part);
      continue;
    }
    for (const [name, waiting] of settings) {
      if (USES_DEFAULT.get(name)?.test(of.kind) !== true) continue;
      schema.add(waiting);
      settings.delete(name);
    }
    if (isAfterRows(of)) beforeRows ??= schema.statements.length;
    schema.add(part);
  }
  return {
    schema: { ...schema.file(), beforeRows: beforeRows ?? schema.statements.length },
    database: database.file(),
    omissions,
  };
}

/** After each connection, pg_dump repeats the settings of the beginning. */
function expectRepeated(statement: string): void {
  if (statement.startsWith('\\')) withoutCommand(statement);
  else if (!/^(SET |SELECT pg_catalog\.set_config\()/.test(statement)) throw unknownForm(statement);
}

interface Part {
  comments: string;
  sql: string;
  of: TocEntry;
}

/** A text that is put together from statements. */
class SqlText {
  readonly statements: ListedStatement[] = [];
  private readonly parts: string[] = [];
  private length = 0;

  add({ comments, sql, of }: Part): void {
    this.parts.push(comments, sql);
    const { kind, schema, name, class: catalog, oid } = of;
    const offset = this.length + comments.length;
    if (sql !== '')
      this.statements.push({ kind, schema, name, class: catalog, oid, offset, length: sql.length });
    this.length += comments.length + sql.length;
  }

  file(): SqlFile {
    return { sql: Buffer.from(this.parts.join(''), 'latin1'), statements: this.statements };
  }
}

/**
 * Removes from a statement what archives must not hold (passwords) and what other servers refuse.
 * @returns an empty text if nothing is left
 * @throws Failure DEFINITIONS_FAILED for an unknown form
 */
export function cleanStatement(statement: string, serverMajor: number, omissions: Omission[]): string {
  if (statement.startsWith('\\')) return withoutCommand(statement);
  if (statement === 'SET transaction_timeout = 0;' && serverMajor < KNOWS_TRANSACTION_TIMEOUT) return '';
  if (statement.startsWith('ALTER ')) return withoutVersions(statement);
  if (statement.startsWith('CREATE USER MAPPING ')) return withoutMappingSecrets(statement, omissions);
  if (statement.startsWith('CREATE SUBSCRIPTION '))
    return withoutConnection(statement, serverMajor, omissions);
  return statement;
}

/** pg_dump writes some of psql's commands: two keep psql from running others, and two connect. */
function withoutCommand(line: string): string {
  if (/^\\(restrict|unrestrict|encoding|connect) /.test(line)) return '';
  throw unknownForm(line);
}

/**
 * Debian's PostgreSQL 15.20 keeps an option pg_attver with every column, hides it from its own pg_dump alone, and sets
 * it again by itself. PostgreSQL 18 refuses it.
 */
function withoutVersions(statement: string): string {
  const [, start = '', options = ''] = COLUMN_OPTIONS.exec(statement) ?? [];
  if (!options.includes('pg_attver=')) return statement;
  const others = options.split(', ').filter((option) => !/^pg_attver=\d+$/.test(option));
  return others.length === 0 ? '' : `${start}${others.join(', ')});`;
}

/** Wrappers name their secrets as they like: the name of the user alone stays. */
function withoutMappingSecrets(statement: string, omissions: Omission[]): string {
  const [start, role = '', server = ''] = USER_MAPPING.exec(statement) ?? [];
  if (start === undefined) throw unknownForm(statement);
  if (statement === `${start};`) return statement;
  const options = optionsOf(statement.slice(start.length));
  const kept = options?.filter((option) => USER_OPTION.test(option)) ?? [];
  if (options?.length === kept.length) return statement;
  omissions.push({
    kind: 'secret',
    count: 1,
    what: named`options of the user mapping of ${role} for the server ${server}`,
    why: named`archives hold no passwords; set them again: ALTER USER MAPPING FOR ${role} SERVER ${server} OPTIONS (…)`,
  });
  return kept.length === 0 ? `${start};` : `${start} OPTIONS (\n    ${kept.join(',\n    ')}\n);`;
}

/** @returns undefined for an unknown form */
function optionsOf(clause: string): string[] | undefined {
  const opening = ' OPTIONS (\n    ';
  if (!clause.startsWith(opening)) return undefined;
  const options: string[] = [];
  for (OPTION.lastIndex = opening.length; OPTION.lastIndex < clause.length;) {
    const [, option] = OPTION.exec(clause) ?? [];
    if (option === undefined) return undefined;
    options.push(option);
  }
  return options;
}

/**
 * Its password may stand in it in several ways. Newer versions of pg_dump add an option that older servers behave as if
 * they had, and refuse.
 */
function withoutConnection(statement: string, serverMajor: number, omissions: Omission[]): string {
  const [, start = '', name = '', , end] = SUBSCRIPTION.exec(statement) ?? [];
  if (end === undefined) throw unknownForm(statement);
  omissions.push({
    kind: 'secret',
    count: 1,
    what: named`the connection of the subscription ${name}`,
    why: named`archives hold no passwords; set it again: ALTER SUBSCRIPTION ${name} CONNECTION '…'`,
  });
  const options =
    serverMajor < KNOWS_RUN_AS_OWNER ? end.replace(/, run_as_owner = true(?=[^'"]*\);$)/, '') : end;
  return `${start}''${options}`;
}

/** Names of the text, for people. */
function named(words: TemplateStringsArray, ...names: string[]): string {
  return String.raw(words, ...names.map((name) => Buffer.from(name, 'latin1').toString()));
}

function unknownForm(statement: string): Failure {
  const [start = ''] = /^\S+( [A-Z]+)*/.exec(statement) ?? [];
  return new Failure('DEFINITIONS_FAILED', 'permanent', `pg_dump wrote an unknown form of ${start}.`, {
    hint: 'Report this with the version of pg_dump. BACKUP_DEFINITIONS=auto makes archives that name what they lack.',
  });
}
