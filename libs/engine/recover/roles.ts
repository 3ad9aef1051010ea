import type { Manifest, ManifestRole } from '#archive';
import { Failure } from '#common';
import {
  attempt,
  commentOn,
  findRoles,
  grantMembership,
  quoteIdentifier,
  quoteLiteral,
  type Session,
  setClause,
} from '#postgres';
import { newOwner, type Script, type ScriptStatement, unquoted } from './script.js';

/** How a recover treats roles that the server lacks. */
export interface RoleOptions {
  /** Create them without the right to log in. */
  createRoles?: boolean | undefined;
  /** Give created roles also SUPERUSER, CREATEROLE, CREATEDB, REPLICATION and BYPASSRLS if they had these. */
  privilegedRoles?: boolean | undefined;
  /** Let everything belong to the role that recovers, and leave out rights of missing roles. */
  noOwner?: boolean | undefined;
}

/** The most roles that a message names. */
const NAMED = 20;

/**
 * Finds the roles that the definitions use and that the server lacks.
 * @throws Failure ROLES_MISSING with the statements to run, unless the options say what to do with them
 */
export async function expectRoles(
  session: Session,
  manifest: Manifest,
  script: Script,
  { noOwner, createRoles: creates }: RoleOptions,
): Promise<string[]> {
  const missing = await missingRoles(session, manifest, script);
  if (missing.length > 0 && noOwner !== true && creates !== true) throw rolesMissing(missing);
  return missing;
}

/** Returns the names of the roles that the definitions use and that the server lacks. */
export async function missingRoles(session: Session, manifest: Manifest, script: Script): Promise<string[]> {
  const needed = neededRoles(manifest, script);
  const existing = await findRoles(session, needed);
  return needed.filter((role) => !existing.has(role));
}

/** The roles that objects, rights and properties name, by the manifest's list, or by the statements of older archives. */
function neededRoles({ roles, database }: Manifest, { beforeRows, afterRows }: Script): string[] {
  const statements = [...beforeRows, ...afterRows];
  const named =
    roles?.roles === undefined
      ? statements.flatMap(rolesNamedIn)
      : roles.roles.flatMap((role) =>
          // PostgreSQL does not record which objects belong to the superuser of initdb.
          role.named || statements.some((statement) => isNamedIn(statement, role.name)) ? [role.name] : [],
        );
  const ofDatabase = [
    database?.owner,
    ...(database?.settings ?? []).map(({ role }) => role),
    ...(database?.rights ?? []).flatMap(({ grantee, grantor }) => [grantee, grantor]),
  ];
  const all = [...named, ...ofDatabase].filter((name) => typeof name === 'string');
  return [...new Set(all)].filter((name) => !name.startsWith('pg_')).sort();
}

/** Kinds of statements that name roles other than owners. */
export const NAMES_ROLES = /^(ACL|DEFAULT ACL|USER MAPPING|POLICY)$/;

function isNamedIn(statement: ScriptStatement, role: string): boolean {
  return newOwner(statement) === role || (NAMES_ROLES.test(statement.kind) && mentions(statement.sql, role));
}

/** Whether a statement has a name as a word, quoted or not. */
export function mentions(sql: string, name: string): boolean {
  const forms = [quoteIdentifier(name), ...(/^[a-z_][a-z0-9_$]*$/.test(name) ? [name] : [])];
  return forms.some((form) => {
    for (let at = sql.indexOf(form); at !== -1; at = sql.indexOf(form, at + 1)) {
      const [before = '', after = ''] = [sql[at - 1], sql[at + form.length]];
      if (!/[\w$"]/.test(before) && !/[\w$"]/.test(after)) return true;
    }
    return false;
  });
}

const NAME = String.raw`("(?:[^"]|"")+"|[\w$]+)`;
const NAMING = [
  new RegExp(String.raw`^ALTER .* OWNER TO ${NAME};$`, 's'),
  new RegExp(String.raw`^(?:GRANT|REVOKE) .* (?:TO|FROM) ${NAME}(?: WITH GRANT OPTION)?;$`, 's'),
  new RegExp(String.raw`^ALTER DEFAULT PRIVILEGES FOR ROLE ${NAME} `),
  new RegExp(String.raw`^CREATE USER MAPPING FOR ${NAME} `),
];

function rolesNamedIn({ sql }: ScriptStatement): string[] {
  return NAMING.flatMap((pattern) => pattern.exec(sql)?.[1] ?? [])
    .map(unquoted)
    .filter((name) => name !== 'PUBLIC' && name !== 'public');
}

function rolesMissing(missing: string[]): Failure {
  const statements = missing.slice(0, NAMED).map((role) => `CREATE ROLE ${quoteIdentifier(role)} NOLOGIN;`);
  const more = missing.length > NAMED ? ` (and ${missing.length - NAMED} more)` : '';
  return new Failure(
    'ROLES_MISSING',
    'permanent',
    `The server lacks ${missing.length === 1 ? 'a role' : `${missing.length} roles`} that the archive names: ${missing.slice(0, NAMED).join(', ')}${more}.`,
    {
      hint: `Nothing was changed. Run: ${statements.join(' ')} Or use --create-roles ("createRoles") to create them without a login, or --no-owner ("noOwner") to own everything yourself.`,
    },
  );
}

/**
 * Creates roles in one transaction. They stay even if the recover fails. A role that is no superuser becomes a member of
 * each, because it gives them objects.
 */
export async function createRoles(
  session: Session,
  { roles }: Manifest,
  missing: string[],
  options: RoleOptions,
): Promise<void> {
  const facts = new Map(roles?.roles?.map((role) => [role.name, role]));
  const created = new Set(missing);
  const [me] = await session.query<{ superuser: boolean; hasOptions: boolean }>(
    `SELECT rolsuper AS superuser, current_setting('server_version_num')::int >= 160000 AS "hasOptions"
       FROM pg_roles WHERE rolname = current_user`,
  );
  await session.query('BEGIN');
  try {
    for (const name of missing) {
      const role = facts.get(name);
      await session.query(
        `CREATE ROLE ${quoteIdentifier(name)} NOLOGIN ${role === undefined ? '' : attributes(role, options)}`,
      );
      if (me?.superuser === false)
        await session.query(
          `GRANT ${quoteIdentifier(name)} TO CURRENT_USER${me.hasOptions ? ' WITH INHERIT TRUE, SET TRUE' : ''}`,
        );
      for (const statement of commentOn(`ROLE ${quoteIdentifier(name)}`, role?.comment ?? null))
        await session.query(statement);
      // Only a superuser may set some of them.
      for (const setting of role?.settings ?? [])
        await attempt(session, () =>
          session.query(`ALTER ROLE ${quoteIdentifier(name)} ${setClause(setting)}`),
        );
    }
    for (const membership of roles?.memberships ?? [])
      if (created.has(membership.role) && created.has(membership.member))
        await session.query(grantMembership(membership));
    await session.commit();
  } catch (error) {
    await session.query('ROLLBACK').catch(() => undefined); // A lost connection has rolled back.
    throw error;
  }
}

function attributes(role: ManifestRole, { privilegedRoles }: RoleOptions): string {
  const privileged: [boolean, string][] = [
    [role.superuser, 'SUPERUSER'],
    [role.createRole, 'CREATEROLE'],
    [role.createDatabase, 'CREATEDB'],
    [role.replication, 'REPLICATION'],
    [role.bypassRls, 'BYPASSRLS'],
  ];
  return [
    role.inherit ? 'INHERIT' : 'NOINHERIT',
    `CONNECTION LIMIT ${role.connectionLimit}`,
    ...(role.validUntil === null ? [] : [`VALID UNTIL ${quoteLiteral(role.validUntil)}`]),
    ...privileged.flatMap(([had, attribute]) => (had && privilegedRoles === true ? [attribute] : [])),
  ].join(' ');
}
