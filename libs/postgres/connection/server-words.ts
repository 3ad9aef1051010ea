import type pg from 'pg';
import type { Confidential } from '#common';
import { conditionName } from './conditions.js';

/** More is kept of no text: a function may raise a message of any length. Characters. */
const MOST = 10_000;

/**
 * Classes of SQLSTATE whose messages hold names only: rights, locks, resources, shutdown, files, damaged pages. All
 * others may hold values: of what a column does not take, or of what a function looked for.
 */
const NAMES_ONLY = /^(25|40|42501|53|55|57|58000|58030|XX001|XX002)/;
/** So do these while a connection is made: later a function may look for a database, or connect to one. */
const NAMES_ONLY_CONNECTING = /^(08|28|3D)/;
/** So do these, if they have a position: then PostgreSQL read the text of our own statement, and no row yet. */
const NAMES_ONLY_IN_STATEMENT = /^(0A|3F|42)/;

/** Where PostgreSQL reads files for functions, whose names may be made of values. */
const FILE_FUNCTIONS = /^(genfile|be-fsstubs|fd)\.c$/;

/**
 * Where errors are raised in the words of others: of another server, which may be made up to say anything, or of a
 * function: dblink, postgres_fdw and other wrappers, and the procedural languages.
 */
const RELAYS = /^(dblink|connection|libpqwalreceiver|\w*fdw\w*|pl_exec|pl_handler|plpy_\w+|plperl|pltcl)\./;

/** Code of users leaves its own line there, whatever it raises: COPY and CREATE INDEX leave these. */
const OWN_CONTEXT = /^(COPY [^\n]*, line \d+|parallel worker$)/;

/** Stops at the first `, line 3`: what follows it may be a value. */
const COPY_PLACE = /^COPY (?:(?!, line \d).)*, line (\d+)(?:, column ([^\n]*?): )?/s;

/**
 * What everybody may read of an error: the message, or where that may hold values, the name of its SQLSTATE and those
 * names that PostgreSQL gives in fields of their own. A function can fill these fields with anything, so that they count
 * for what the server itself raised only.
 * @param connecting whether the connection was still being made
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

function isServersOwn({ where, file = '' }: pg.DatabaseError): boolean {
  return !RELAYS.test(file) && (where === undefined || OWN_CONTEXT.test(where));
}

/** Names that PostgreSQL gave with an error. */
export type NamedInError = Partial<Record<'constraint' | 'column' | 'schema' | 'dataType', string>>;

/** Those that everybody may read. @returns undefined if others than the server itself may have raised it */
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
  const [, line, copiedColumn] = COPY_PLACE.exec(where) ?? [];
  return [
    ...(constraint === undefined ? [] : [`constraint ${constraint}`]),
    ...(table === undefined ? [] : [`table ${inSchema(table)}`]),
    ...(dataType === undefined ? [] : [`type ${inSchema(dataType)}`]),
    ...[column ?? copiedColumn].flatMap((name) => (name === undefined ? [] : [`column ${name}`])),
    ...(line === undefined ? [] : [`line ${line}`]),
  ];
}

/** All that PostgreSQL said, in lines as psql shows them. */
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

/** The beginning of a text that is too long to be kept. */
export function shortened(text: string): string {
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}
