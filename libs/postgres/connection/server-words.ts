import type pg from 'pg';
import type { Confidential } from '#common';
import { conditionName } from './conditions.js';

/** Characters of a text that are kept: a function may raise a message of any length. */
const MOST = 10_000;

/**
 * Classes of SQLSTATE whose messages hold names only: rights, locks, resources, shutdown, files, damaged pages. Messages
 * of other classes may hold values, such as one that a column does not accept.
 */
const NAMES_ONLY = /^(25|40|42501|53|55|57|58000|58030|XX001|XX002)/;
/** More such classes while a connection is opened. Later, a function may look for a database or connect to one. */
const NAMES_ONLY_CONNECTING = /^(08|28|3D)/;
/** More such classes, if the error has a position: then PostgreSQL was parsing our own statement and had read no row. */
const NAMES_ONLY_IN_STATEMENT = /^(0A|3F|42)/;

/** PostgreSQL's sources that read files for functions: the file names may come from values. */
const FILE_FUNCTIONS = /^(genfile|be-fsstubs|fd)\.c$/;

/**
 * Sources that relay the text of another server or of a function, which can be any text: dblink, postgres_fdw and other
 * wrappers, and the procedural languages.
 */
const RELAYS = /^(dblink|connection|libpqwalreceiver|\w*fdw\w*|pl_exec|pl_handler|plpy_\w+|plperl|pltcl)\./;

/** Contexts of COPY and CREATE INDEX. An error that users' code raises has its own line of context. */
const OWN_CONTEXT = /^(COPY [^\n]*, line \d+|parallel worker$)/;

/** Matches up to the first `, line 3`: the text behind it may be a value. */
const COPY_POSITION = /^COPY (?:(?!, line \d).)*, line (\d+)(?:, column ([^\n]*?): )?/s;

/**
 * Returns the text of an error that everybody may read: the message, or if that may hold values, the name of its SQLSTATE
 * and the names that PostgreSQL puts into separate fields. A function can fill these fields with any text, so that they
 * are shown only if the server itself raised the error.
 * @param connecting whether the connection was being opened
 */
export function openText(error: pg.DatabaseError, connecting: boolean): string {
  const { code = '', message, position, file = '' } = error;
  const isOfServer = isServersOwn(error);
  const namesOnly =
    (NAMES_ONLY.test(code) && !FILE_FUNCTIONS.test(file)) ||
    (connecting && NAMES_ONLY_CONNECTING.test(code)) ||
    (position !== undefined && NAMES_ONLY_IN_STATEMENT.test(code));
  if (isOfServer && namesOnly) return message;
  const names = isOfServer ? namesIn(error) : [];
  return `${[conditionName(code), ...names].join(', ')}; the scope everything shows the full text`;
}

/** Whether the server itself raised an error, and not a function or another server. */
function isServersOwn({ where, file = '' }: pg.DatabaseError): boolean {
  return !RELAYS.test(file) && (where === undefined || OWN_CONTEXT.test(where));
}

/** Names that PostgreSQL gave with an error. */
export type NamedInError = Partial<Record<'constraint' | 'column' | 'schema' | 'dataType', string>>;

/** Returns the names that everybody may read. @returns undefined unless the server itself raised the error */
export function openNames(error: pg.DatabaseError): NamedInError | undefined {
  if (!isServersOwn(error)) return undefined;
  const { constraint, column, schema, dataType } = error;
  return {
    ...(constraint !== undefined && { constraint }),
    ...(column !== undefined && { column }),
    ...(schema !== undefined && { schema }),
    ...(dataType !== undefined && { dataType }),
  };
}

function namesIn(error: pg.DatabaseError): string[] {
  const { schema, table, column, constraint, dataType, where = '' } = error;
  const inSchema = (name: string) => (schema === undefined ? name : `${schema}.${name}`);
  const [, line, copiedColumn] = COPY_POSITION.exec(where) ?? [];
  return [
    ...(constraint === undefined ? [] : [`constraint ${constraint}`]),
    ...(table === undefined ? [] : [`table ${inSchema(table)}`]),
    ...(dataType === undefined ? [] : [`type ${inSchema(dataType)}`]),
    ...[column ?? copiedColumn].flatMap((name) => (name === undefined ? [] : [`column ${name}`])),
    ...(line === undefined ? [] : [`line ${line}`]),
  ];
}

/** Returns all texts of an error, in lines as psql shows them. */
export function serverWords(error: pg.DatabaseError): Confidential['words'] {
  const { severity = 'ERROR', message, detail, hint, internalQuery, where } = error;
  return Object.entries({
    [severity]: message,
    DETAIL: detail,
    HINT: hint,
    QUERY: internalQuery,
    CONTEXT: where,
  })
    .flatMap(([title, text]) => (text === undefined ? [] : [`${title}: ${shortened(text)}`]))
    .join('\n');
}

/** Cuts a text that is too long to keep. */
export function shortened(text: string): string {
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}
