import type { Manifest } from '#archive';
import { Failure } from '#common';
import { quoteIdentifier, type Session } from '#postgres';
import type { RoleOptions } from './roles.js';
import type { SelectedStatements } from './select-statements.js';
import { describe, keptOwner, newOwner, type ScriptStatement, unquoted } from './script.js';

/** The most statements, extensions or roles that a message names. */
const NAMED = 20;

interface Role {
  name: string;
  superuser: boolean;
  /** PostgreSQL 16 lets a role inherit another one's rights without SET ROLE, and the other way round. */
  hasOptions: boolean;
}

/** A statement that a role may not run. */
interface Denied {
  what: string;
  why: string;
  /** The role that must own the object, if that is the reason. */
  owner?: string;
}

/**
 * Compares the statements of a recover with the extensions of the server and the rights of the session's role, before
 * anything is created.
 * @throws Failure EXTENSION_MISSING, or DATABASE_PERMISSION_DENIED naming all statements that need more rights
 */
export async function expectRights(
  session: Session,
  { beforeRows, afterRows, eventTriggers, afterRename }: SelectedStatements,
  { database }: Manifest,
  { noOwner }: RoleOptions,
): Promise<void> {
  const statements = [...beforeRows, ...afterRows, ...eventTriggers, ...afterRename];
  const untrusted = await findUntrusted(session, statements);
  const [me] = await session.query<Role>(
    `SELECT rolname::text AS name, rolsuper AS superuser, current_setting('server_version_num')::int >= 160000 AS "hasOptions"
       FROM pg_roles WHERE rolname = current_user`,
  );
  if (me === undefined || me.superuser) return;
  const denied = statements.flatMap((statement): Denied[] => {
    const why = superuserOnly(statement, untrusted);
    return why === undefined ? [] : [{ what: describe(statement), why }];
  });
  const foreign = await findForeign(session, me, statements, noOwner === true ? undefined : database?.owner);
  const all = [...denied, ...foreign];
  if (all.length > 0) throw rightsMissing(me, all);
}

/** Kinds whose owner must be a superuser. */
const SUPERUSER_OWNS = /^(EVENT TRIGGER|FOREIGN DATA WRAPPER)$/;

/**
 * Finds the objects that stay with the role that recovers, because their archived owner may not have them.
 * @param created the roles that the recover creates
 * @returns them, as a recover reports them
 */
export async function findKeptOwners(
  session: Session,
  { afterRows, beforeRows, eventTriggers }: SelectedStatements,
  created: string[],
  { roles }: Manifest,
  { privilegedRoles }: RoleOptions,
): Promise<string[]> {
  const owned = [...beforeRows, ...afterRows, ...eventTriggers].flatMap((statement) => {
    const owner = SUPERUSER_OWNS.test(statement.kind) ? newOwner(statement) : undefined;
    return owner === undefined ? [] : [{ statement, owner }];
  });
  const superusers = await session.query<{ name: string }>(
    'SELECT rolname::text AS name FROM pg_roles WHERE rolsuper AND rolname = ANY ($1)',
    [owned.map(({ owner }) => owner)],
  );
  const mayOwn = new Set(superusers.map(({ name }) => name));
  for (const { name, superuser } of roles?.roles ?? [])
    if (privilegedRoles === true && superuser && created.includes(name)) mayOwn.add(name);
  return owned
    .filter(({ owner }) => !mayOwn.has(owner))
    .map(({ statement, owner }) => keptOwner(statement, owner));
}

/** @returns the untrusted extensions @throws Failure EXTENSION_MISSING */
async function findUntrusted(session: Session, statements: ScriptStatement[]): Promise<Set<string>> {
  const names = statements
    .filter(({ kind, sql }) => kind === 'EXTENSION' && sql.startsWith('CREATE '))
    .map(({ name }) => name);
  const found = await session.query<{ name: string; trusted: boolean }>(
    `SELECT e.name::text AS name, v.trusted OR NOT v.superuser AS trusted
       FROM pg_available_extensions e JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
      WHERE e.name = ANY ($1)`,
    [names],
  );
  const available = new Set(found.map(({ name }) => name));
  const missing = names.filter((name) => !available.has(name));
  if (missing.length > 0)
    throw new Failure(
      'EXTENSION_MISSING',
      'permanent',
      `The server lacks ${missing.length === 1 ? 'an extension' : `${missing.length} extensions`} of the archive: ${list(missing)}.`,
      {
        hint: 'Nothing was changed. Install the packages of these extensions on the server, and start again.',
      },
    );
  return new Set(found.filter(({ trusted }) => !trusted).map(({ name }) => name));
}

/** Kinds that only a superuser may create. */
const SUPERUSER_KINDS =
  /^(EVENT TRIGGER|FOREIGN DATA WRAPPER|OPERATOR (CLASS|FAMILY)|ACCESS METHOD|SHELL TYPE|TEXT SEARCH (PARSER|TEMPLATE)|PROCEDURAL LANGUAGE)$/;

const ONLY_SUPERUSER = 'only a superuser may create it';

/** @returns the reason if only a superuser may run a statement */
function superuserOnly(
  { kind, schema, name, sql }: ScriptStatement,
  untrusted: Set<string>,
): string | undefined {
  if (/^SET SESSION AUTHORIZATION (?!DEFAULT)/.test(sql)) return 'another role has granted it';
  if (kind === 'ACL' && schema === 'pg_catalog') return "PostgreSQL's own object";
  if (!sql.startsWith('CREATE ')) return undefined;
  if (kind === 'EXTENSION') return untrusted.has(name) ? 'the extension is not trusted' : undefined;
  const onlySuperuser =
    SUPERUSER_KINDS.test(kind) ||
    (kind === 'PUBLICATION' && / FOR ALL (TABLES|SEQUENCES)\b/.test(sql)) ||
    (kind === 'TYPE' && /^CREATE TYPE \S+(;$| \(\s*INTERNALLENGTH )/.test(sql)) ||
    (kind === 'CAST' && / WITHOUT FUNCTION\b/.test(sql)) ||
    (/^(FUNCTION|PROCEDURE)$/.test(kind) &&
      /\n {4}LANGUAGE (c|internal)\b|\n {4}LANGUAGE .* LEAKPROOF\b/.test(sql));
  return onlySuperuser ? ONLY_SUPERUSER : undefined;
}

const DEFAULT_RIGHTS = /^ALTER DEFAULT PRIVILEGES FOR ROLE ("(?:[^"]|"")+"|\S+) /;

/** @returns statements for objects of roles whose rights the session's role lacks */
async function findForeign(
  session: Session,
  { hasOptions }: Role,
  statements: ScriptStatement[],
  databaseOwner: string | undefined,
): Promise<Denied[]> {
  const owned = statements.flatMap((statement) => {
    const [, grantor] = DEFAULT_RIGHTS.exec(statement.sql) ?? [];
    const owner = grantor === undefined ? newOwner(statement) : unquoted(grantor);
    return owner === undefined ? [] : [{ what: describe(statement), owner }];
  });
  if (databaseOwner !== undefined) owned.push({ what: 'the database', owner: databaseOwner });
  const rows = await session.query<{ name: string }>(
    `SELECT rolname::text AS name FROM pg_roles
      WHERE rolname = ANY ($1) AND rolname <> 'pg_database_owner'
        AND NOT (pg_has_role(oid, 'USAGE') AND pg_has_role(oid, '${hasOptions ? 'SET' : 'MEMBER'}'))`,
    [owned.map(({ owner }) => owner)],
  );
  const foreign = new Set(rows.map(({ name }) => name));
  return owned
    .filter(({ owner }) => foreign.has(owner))
    .map(({ what, owner }) => ({ what, owner, why: 'its owner' }));
}

function rightsMissing({ name, hasOptions }: Role, denied: Denied[]): Failure {
  const owners = [...new Set(denied.flatMap(({ owner }) => owner ?? []))];
  const objects = [
    ...denied.flatMap(({ what, why, owner }) => (owner === undefined ? [`${what} (${why})`] : [])),
    ...owners.map((owner) => `objects of ${owner} (${list(namesOf(denied, owner))})`),
  ];
  const options = hasOptions ? ' WITH INHERIT TRUE, SET TRUE' : '';
  const grant = `GRANT ${owners.map(quoteIdentifier).join(', ')} TO ${quoteIdentifier(name)}${options};`;
  const onlyOwners = denied.every(({ owner }) => owner !== undefined);
  const hints = [
    'Nothing was changed.',
    onlyOwners ? '' : 'Recover as a superuser.',
    owners.length === 0 ? '' : `${onlyOwners ? 'Run' : 'For the owners alone, run'}: ${grant}`,
    onlyOwners ? 'Or use --no-owner ("noOwner") to own everything yourself.' : '',
  ];
  return new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The role ${name} is no superuser, and may not create these parts of the archive: ${[...new Set(objects)].join('; ')}.`,
    { hint: hints.filter((hint) => hint !== '').join(' ') },
  );
}

function namesOf(denied: Denied[], owner: string): string[] {
  return [...new Set(denied.filter((one) => one.owner === owner).map(({ what }) => what))];
}

function list(names: string[]): string {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
