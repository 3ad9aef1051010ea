import type { ColumnDetails, IndexDetails, KeyDetails, TableDetails } from '../catalog/table-details.js';
import { type SequenceState, setSequences } from '../catalog/sequences.js';
import {
  commentOn,
  displayTable,
  quoteIdentifier,
  quoteLiteral,
  quoteTable,
  type Relation,
} from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { attempt } from '../connection/transactions.js';
import { createSchema, missingSchemas } from './scratch-tables.js';
import { createTypes, type NewType } from './create-types.js';
import { isHarmless } from './harmless-expressions.js';

/** A table to create from the facts of an archive. */
export interface NewTable {
  target: Relation;
  /** `type` is SQL that PostgreSQL knows as a type. */
  columns: { name: string; type: string; notNull: boolean }[];
  details: TableDetails;
  /** The sequences of its columns, under the names that they get. */
  sequences: (SequenceState & { column: string })[];
}

/** Tables to create, the types that they need and do not exist, and missing schemas. */
export interface NewObjects {
  types: NewType[];
  tables: NewTable[];
}

/**
 * Creates empty tables with their sequences, defaults, generated columns and checks, and the types that they need.
 * Expressions of an archive are taken only if they are harmless.
 * @returns the objects that it did not create, by name
 */
export async function createTables(session: Session, { types, tables }: NewObjects): Promise<string[]> {
  const targets = tables.map(({ target }) => ({ scratch: target }));
  for (const schema of await missingSchemas(session, targets)) await session.query(createSchema(schema));
  await createTypes(session, types);
  const omitted: string[] = [];
  for (const table of tables) omitted.push(...(await createTable(session, table)));
  return omitted;
}

async function createTable(session: Session, table: NewTable): Promise<string[]> {
  const { target, details, sequences } = table;
  const harmless = await harmlessExpressions(session, table);
  const name = quoteTable(target);
  for (const sequence of sequences)
    if (!isIdentity(details, sequence.column)) await session.query(`CREATE SEQUENCE ${quoteTable(sequence)}`);
  const checks = details.checks.filter(({ expression }) => harmless.has(expression));
  const parts = [
    ...table.columns.map((column) => columnDefinition(table, column, harmless)),
    ...checks.map((check) => `CONSTRAINT ${quoteIdentifier(check.name)} CHECK (${check.expression})`),
  ];
  await session.query(`CREATE TABLE ${name} (${parts.join(', ')})`);
  for (const { column, ...sequence } of sequences)
    if (!isIdentity(details, column))
      await session.query(
        `ALTER SEQUENCE ${quoteTable(sequence)} OWNED BY ${name}.${quoteIdentifier(column)}`,
      );
  const comments = [
    ...commentOn(`TABLE ${name}`, details.comment),
    ...details.columns.flatMap((column) =>
      commentOn(`COLUMN ${name}.${quoteIdentifier(column.name)}`, column.comment),
    ),
    ...checks.flatMap((check) =>
      commentOn(`CONSTRAINT ${quoteIdentifier(check.name)} ON ${name}`, check.comment),
    ),
  ];
  for (const comment of comments) await session.query(comment);
  const of = `of ${displayTable(target)}`;
  return [
    ...details.columns.flatMap((column) => [
      ...(column.generation !== null && !harmless.has(column.generation)
        ? [`the expression of the generated column ${column.name} ${of} (its values are missing)`]
        : []),
      ...(column.default !== null && !countsBy(table, column) && !harmless.has(column.default)
        ? [`the default of ${column.name} ${of}`]
        : []),
    ]),
    ...details.checks
      .filter((check) => !checks.includes(check))
      .map((check) => `the check ${check.name} ${of}`),
    ...details.others.map((other) => `the ${other} ${of}`),
  ];
}

/** Tries the expressions of a table on an empty one with the same columns, which it drops. */
async function harmlessExpressions(
  session: Session,
  { target, columns, details }: NewTable,
): Promise<Set<string>> {
  const expressions = [
    ...details.columns.flatMap(({ default: value, generation }) => [value, generation]),
    ...details.checks.map(({ expression }) => expression),
  ].filter((expression) => expression !== null);
  const harmless = new Set<string>();
  if (expressions.length === 0) return harmless;
  const definitions = columns.map(({ name, type }) => `${quoteIdentifier(name)} ${type}\n`);
  await session.query(`CREATE TABLE ${quoteTable(target)} (${definitions.join(', ')})`);
  for (const expression of new Set(expressions))
    if (await isHarmless(session, target, expression)) harmless.add(expression);
  await session.query(`DROP TABLE ${quoteTable(target)}`);
  return harmless;
}

function columnDefinition(
  table: NewTable,
  { name, type, notNull }: NewTable['columns'][number],
  harmless: Set<string>,
): string {
  const details = table.details.columns.find((one) => one.name === name);
  const sequence = details && countsBy(table, details);
  const { collation = null, generation = null, default: value = null, virtual = false } = details ?? {};
  const isGenerated = generation !== null && harmless.has(generation);
  return [
    // A type could end in a comment.
    `${quoteIdentifier(name)} ${type}\n`,
    ...(collation === null ? [] : [`COLLATE ${quoteTable(collation)}`]),
    ...(isGenerated ? [`GENERATED ALWAYS AS (${generation}) ${virtual ? 'VIRTUAL' : 'STORED'}`] : []),
    ...(sequence === undefined
      ? []
      : details?.identity
        ? [`GENERATED ${details.identity} AS IDENTITY (SEQUENCE NAME ${quoteTable(sequence)})`]
        : [`DEFAULT pg_catalog.nextval(${quoteLiteral(quoteTable(sequence))}::pg_catalog.regclass)`]),
    ...(sequence === undefined && value !== null && harmless.has(value) ? [`DEFAULT (${value})`] : []),
    // Without its expression a generated column has no values.
    ...(notNull && (generation === null || isGenerated) ? ['NOT NULL'] : []),
  ].join(' ');
}

/** The sequence that gives a column its values, if any. */
function countsBy({ sequences }: NewTable, { name, counts, identity }: ColumnDetails) {
  return counts || identity !== null ? sequences.find(({ column }) => column === name) : undefined;
}

function isIdentity({ columns }: TableDetails, column: string): boolean {
  return columns.some(({ name, identity }) => name === column && identity !== null);
}

/** Statements like those that create tables, for the event triggers that may fire on them. */
export function newTableStatements({ types, tables }: NewObjects): string[] {
  return tables.length === 0
    ? []
    : [
        'CREATE TABLE',
        'ALTER TABLE',
        'DROP TABLE',
        'CREATE INDEX',
        'CREATE SEQUENCE',
        'ALTER SEQUENCE',
        'COMMENT',
        ...(types.length > 0 ? ['CREATE TYPE', 'CREATE DOMAIN'] : []),
      ];
}

/**
 * Adds the keys, indexes and values of sequences to created tables that have their rows.
 * @returns the objects that PostgreSQL refused, by name and with the reason
 */
export async function completeTables(session: Session, { tables }: NewObjects): Promise<string[]> {
  const refused: string[] = [];
  const tryTo = async (what: string, statements: string[]) => {
    const failure = await attempt(session, async () => {
      for (const statement of statements) await session.query(statement);
    });
    if (failure !== undefined) refused.push(`${what} (${failure.sentence})`);
  };
  for (const { target, details, sequences } of tables) {
    const of = `of ${displayTable(target)}`;
    for (const key of details.keys)
      await tryTo(`the key ${key.name} ${of}`, [
        keyDefinition(target, key),
        ...commentOn(`CONSTRAINT ${quoteIdentifier(key.name)} ON ${quoteTable(target)}`, key.comment),
      ]);
    for (const index of details.indexes)
      await tryTo(`the index ${index.name} ${of}`, [
        indexDefinition(target, index),
        ...commentOn(`INDEX ${quoteTable({ schema: target.schema, name: index.name })}`, index.comment),
      ]);
    for (const sequence of sequences) {
      const failure = await attempt(session, () => setSequences(session, [sequence]));
      if (failure !== undefined)
        refused.push(`the value of the sequence ${displayTable(sequence)} (${failure.sentence})`);
    }
  }
  return refused;
}

function keyDefinition(
  target: Relation,
  { name, primary, columns, include, nullsNotDistinct, deferrable, deferred }: KeyDetails,
): string {
  return [
    `ALTER TABLE ${quoteTable(target)} ADD CONSTRAINT ${quoteIdentifier(name)}`,
    primary ? 'PRIMARY KEY' : nullsNotDistinct ? 'UNIQUE NULLS NOT DISTINCT' : 'UNIQUE',
    list(columns),
    ...(include.length > 0 ? [`INCLUDE ${list(include)}`] : []),
    ...(deferrable ? [`DEFERRABLE INITIALLY ${deferred ? 'DEFERRED' : 'IMMEDIATE'}`] : []),
  ].join(' ');
}

function indexDefinition(
  target: Relation,
  { name, unique, nullsNotDistinct, method, columns, include }: IndexDetails,
): string {
  const parts = columns.map((column) =>
    [
      quoteIdentifier(column.name),
      ...(column.collation === null ? [] : [`COLLATE ${quoteTable(column.collation)}`]),
      ...(column.operatorClass === null ? [] : [quoteTable(column.operatorClass)]),
      ...(column.descending ? ['DESC'] : []),
      ...(column.descending === column.nullsFirst ? [] : [`NULLS ${column.nullsFirst ? 'FIRST' : 'LAST'}`]),
    ].join(' '),
  );
  return [
    `CREATE ${unique ? 'UNIQUE ' : ''}INDEX ${quoteIdentifier(name)} ON ${quoteTable(target)}`,
    `USING ${quoteIdentifier(method)} (${parts.join(', ')})`,
    ...(include.length > 0 ? [`INCLUDE ${list(include)}`] : []),
    ...(nullsNotDistinct ? ['NULLS NOT DISTINCT'] : []),
  ].join(' ');
}

function list(columns: string[]): string {
  return `(${columns.map(quoteIdentifier).join(', ')})`;
}
