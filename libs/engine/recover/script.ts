import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { DEFINITIONS_NAME, type ManifestSqlFile, type OpenArchive } from '#archive';
import { Failure } from '#common';
import { cleanStatement, isAfterRows, splitStatements } from '#postgres';

/** A statement of the schema definitions. */
export interface ScriptStatement {
  /** pg_dump's type, such as `FK CONSTRAINT`; `SET` for settings of the session. */
  kind: string;
  schema: string | null;
  /** As pg_dump names it; exact for tables, views and sequences. */
  name: string;
  /** Equal for the statements of one object, its comments and its rights. */
  object: string;
  sql: string;
}

/** The schema definitions of an archive, in the order in which they run. */
export interface Script {
  beforeRows: ScriptStatement[];
  afterRows: ScriptStatement[];
  /** The major version of the pg_dump that wrote the text. */
  dumpedBy: number | undefined;
}

/** Reads the version of pg_dump from the comments at the beginning of its text. */
export function dumpedBy(text: Buffer): number | undefined {
  const [, major] = /^-- Dumped by pg_dump version (\d+)/m.exec(text.toString('latin1', 0, 4096)) ?? [];
  return major === undefined ? undefined : Number(major);
}

/**
 * Reads the schema definitions of an archive.
 * @throws Failure ARCHIVE_DOES_NOT_FIT if it holds none, ARCHIVE_INVALID
 */
export async function readScript(archive: OpenArchive): Promise<Script> {
  const { definitions, leftOut, server } = archive.manifest;
  if (definitions === undefined) {
    const why = leftOut.find(({ what }) => what === 'definitions')?.why;
    throw new Failure(
      'ARCHIVE_DOES_NOT_FIT',
      'permanent',
      `The archive holds no schema definitions${why === undefined ? '' : ` (${why})`}, so no database can be built from it alone.`,
      { hint: 'Create the tables, and restore the archive in place.' },
    );
  }
  const text = await readSql(archive, definitions);
  if (definitions.statements === undefined) return splitText(text, parseInt(server.version));
  const statements = definitions.statements.map(
    ({ kind, schema, name, class: catalog, oid, offset, length }): ScriptStatement => ({
      kind,
      schema,
      name,
      object: `${catalog} ${oid}`,
      sql: text.toString('utf8', offset, offset + length),
    }),
  );
  const { beforeRows = statements.length } = definitions;
  return {
    beforeRows: statements.slice(0, beforeRows),
    afterRows: statements.slice(beforeRows),
    dumpedBy: dumpedBy(text),
  };
}

async function readSql(archive: OpenArchive, file: ManifestSqlFile): Promise<Buffer> {
  const sequence = archive.read([file]);
  try {
    return await buffer(sequence.next() ?? Readable.from([]));
  } finally {
    await sequence.close();
  }
}

const COMMENT = /(?:^|\n)-- (?:Data for )?Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: .*\n/g;

/** Splits the text of an older archive, which lists no statements. @param serverMajor of the archive's server */
function splitText(text: Buffer, serverMajor: number): Script {
  const script: Script = { beforeRows: [], afterRows: [], dumpedBy: dumpedBy(text) };
  let entry = { kind: 'SET', schema: null as string | null, name: '', object: '0' };
  let number = 0;
  for (const { before, text: statement } of splitStatements(text.toString('latin1'))) {
    const [, name, kind, schema] = [...before.matchAll(COMMENT)].at(-1) ?? [];
    if (name !== undefined && kind !== undefined)
      entry = {
        kind,
        schema: schema === undefined || schema === '-' ? null : utf8(schema),
        name: utf8(name),
        // A comment's name begins with the kind of its object, which is mostly the one before it.
        object: kind === 'COMMENT' && name.startsWith(`${entry.kind} `) ? entry.object : String(++number),
      };
    const sql = utf8(cleanStatement(statement, serverMajor, []));
    if (sql === '') continue;
    const of =
      name === undefined && sql.startsWith('SET default_') ? { ...entry, kind: 'SET', object: '0' } : entry;
    if (isAfterRows(of) || script.afterRows.length > 0) script.afterRows.push({ ...of, sql });
    else script.beforeRows.push({ ...of, sql });
  }
  if (script.beforeRows.length === 0)
    throw new Failure('ARCHIVE_INVALID', 'permanent', `${DEFINITIONS_NAME} holds no statements.`, {
      hint: 'Choose another archive.',
    });
  return script;
}

function utf8(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString();
}

/** Names an object for people. */
export function describe({ kind, schema, name }: ScriptStatement): string {
  return `${kind.toLowerCase()} ${schema === null ? name : `${schema}.${name}`}`;
}

const OWNER = /^ALTER .* OWNER TO ("(?:[^"]|"")+"|[\w$\u0080-\uffff]+);$/s;

/** Returns the role to which a statement gives its object. @returns undefined for other statements */
export function newOwner({ sql }: ScriptStatement): string | undefined {
  const [, name] = OWNER.exec(sql) ?? [];
  return name === undefined ? undefined : unquoted(name);
}

/** Names an object that does not get its owner, for people. */
export function keptOwner(statement: ScriptStatement, owner: string): string {
  return `${describe(statement)} (it stays with this role, because ${owner} may not own it)`;
}

/** The name that an identifier in SQL means. */
export function unquoted(identifier: string): string {
  return identifier.startsWith('"') ? identifier.slice(1, -1).replaceAll('""', '"') : identifier;
}
