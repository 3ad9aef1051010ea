import type { Manifest, OpenArchive } from '#archive';
import type { Secret } from '#config';
import { errorSentence } from '#common';
import {
  connectionTls,
  dumpSchema,
  findPgDump,
  quoteIdentifier,
  type Session,
  setClause,
  type SqlFile,
  whyUnreadable,
} from '#postgres';
import type { RoleOptions } from './roles.js';
import { describe, dumpedBy, newOwner, type Script, type ScriptStatement } from './script.js';

/** The most differences of a kind that a report names. */
const NAMED = 20;

/**
 * Reads the schema definitions of the new database as a backup does, and compares them with the archive's statement by
 * statement.
 * @param options isKnown tells whether a difference of an object is reported already
 * @returns the differences, for people
 */
export async function compareDefinitions(
  session: Session,
  url: Secret,
  archive: OpenArchive,
  script: Script,
  {
    noOwner,
    isKnown,
    applicationName,
    signal,
  }: RoleOptions & {
    isKnown: (statement: ScriptStatement) => boolean;
    applicationName: string;
    signal: AbortSignal;
  },
): Promise<string[]> {
  const [server] = await session.query<{ version: string }>(
    `SELECT current_setting('server_version') AS version`,
  );
  const serverVersion = server?.version ?? '';
  const program = await findPgDump(url.reveal(), session.client);
  const reason = whyUnreadable(program, serverVersion, connectionTls(url.reveal(), session.client));
  if (reason !== undefined) return [`the comparison of the schema definitions (${reason})`];
  try {
    await setPrinting(session, archive.manifest);
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const [snapshot] = await session.query<{ name: string }>('SELECT pg_export_snapshot() AS name');
    const { text } = dumpSchema({
      program,
      serverVersion,
      session,
      url: url.reveal(),
      applicationName: `${applicationName} definitions`,
      snapshot: snapshot?.name ?? '',
      exclude: [],
      signal,
    });
    const { schema } = await text;
    const now = statementsOf(schema);
    const then = [...script.beforeRows, ...script.afterRows];
    const hasTexts =
      dumpedBy(schema.sql) === script.dumpedBy &&
      parseInt(serverVersion) === parseInt(archive.manifest.server.version);
    return differences(then, now, { hasTexts, noOwner: noOwner === true, isKnown });
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    return [`the comparison of the schema definitions (${errorSentence(error)})`];
  } finally {
    await session.query('ROLLBACK');
  }
}

/** Gives the database those of the archived settings under which PostgreSQL prints definitions in other words. */
async function setPrinting(session: Session, { database }: Manifest): Promise<void> {
  const [now] = await session.query<{ name: string }>('SELECT current_database()::text AS name');
  for (const setting of database?.settings ?? [])
    if (setting.role === null && PRINTING.has(setting.name))
      await session.query(`ALTER DATABASE ${quoteIdentifier(now?.name ?? '')} ${setClause(setting)}`);
}

const PRINTING = new Set(['quote_all_identifiers', 'standard_conforming_strings']);

function statementsOf({ sql, statements }: SqlFile): ScriptStatement[] {
  return statements.map(({ kind, schema, name, class: catalog, oid, offset, length }) => ({
    kind,
    schema,
    name,
    object: `${catalog} ${oid}`,
    sql: sql.toString('utf8', offset, offset + length),
  }));
}

interface Comparison {
  /** Whether both texts come from equal versions. Other versions print the same objects in other words. */
  hasTexts: boolean;
  noOwner: boolean;
  /** Whether a difference of an object is reported already. */
  isKnown: (statement: ScriptStatement) => boolean;
}

function differences(
  then: ScriptStatement[],
  now: ScriptStatement[],
  { hasTexts, noOwner, isKnown }: Comparison,
): string[] {
  const isCompared = (statement: ScriptStatement) =>
    !isKnown(statement) &&
    !/^(SET|SUBSCRIPTION.*)$/.test(statement.kind) &&
    !(noOwner && (/^(DEFAULT )?ACL$/.test(statement.kind) || newOwner(statement) !== undefined));
  const expected = byObject(then.filter(isCompared));
  const found = byObject(now.filter(isCompared));
  const missing = [...expected.keys()].filter((what) => !found.has(what));
  const extra = [...found.keys()].filter((what) => !expected.has(what));
  const changed = hasTexts
    ? [...expected].flatMap(([what, texts]) => (found.has(what) && found.get(what) !== texts ? [what] : []))
    : [];
  return [
    ...named(missing, 'not in the new database'),
    ...named(extra, 'not in the archive'),
    ...named(changed, 'defined in other words'),
    ...(hasTexts
      ? []
      : [
          'the texts of the schema definitions (another version of PostgreSQL or pg_dump prints them: only names were compared)',
        ]),
  ];
}

/** The texts of each object's statements, by its name. */
function byObject(statements: ScriptStatement[]): Map<string, string> {
  const texts = new Map<string, string[]>();
  for (const statement of statements) {
    const what = describe(statement);
    const others = texts.get(what);
    if (others === undefined) texts.set(what, [statement.sql]);
    else others.push(statement.sql);
  }
  return new Map([...texts].map(([what, all]) => [what, all.toSorted().join('\n')]));
}

function named(objects: string[], why: string): string[] {
  const more = objects.length - NAMED;
  return [
    ...objects.slice(0, NAMED).map((what) => `${what} (${why})`),
    ...(more > 0 ? [`${more} more objects (${why})`] : []),
  ];
}

const VIOLATED_CHECK = /^the check (.*) of (.*) \(NOT VALID/;

/** Whether losses name the object of a statement. A check that rows violate is defined apart from its table. */
export function isReported(losses: string[], statement: ScriptStatement): boolean {
  const what = describe(statement);
  return losses.some((loss) => {
    const [, check, of] = VIOLATED_CHECK.exec(loss) ?? [];
    return (
      loss.startsWith(`${what} (`) ||
      (of !== undefined && [`table ${of}`, `domain ${of}`, `check constraint ${of} ${check}`].includes(what))
    );
  });
}
