import type { Manifest, ManifestDatabase } from '#archive';
import { Failure } from '#common';
import {
  attempt,
  OWN_ROLE,
  quoteIdentifier,
  quoteLiteral,
  type Session,
  setClause,
  sqlState,
} from '#postgres';
import type { RoleOptions } from './roles.js';

/**
 * Gives the complete database its name and its properties, in one transaction: nobody sees it half.
 * @param again opens another session, if the connection breaks before the answer to COMMIT
 * @returns properties that PostgreSQL refused, for people
 * @throws Failure of PostgreSQL
 */
export async function finishDatabase(
  session: Session,
  temporary: string,
  { database, noOwner }: RoleOptions & { database: string },
  manifest: Manifest,
  again: () => Promise<Session>,
): Promise<string[]> {
  const losses: string[] = [];
  await session.query('BEGIN');
  const [renamed] = await session.query<{ oid: string }>(
    'SELECT oid::text AS oid FROM pg_database WHERE datname = $1',
    [temporary],
  );
  try {
    await session.query(
      `ALTER DATABASE ${quoteIdentifier(temporary)} RENAME TO ${quoteIdentifier(database)}`,
    );
  } catch (error) {
    throw sqlState(error) === DUPLICATE_DATABASE ? nameTaken(session, database, error) : error;
  }
  // Its comment marks it, and the comparison may have set some settings.
  await session.query(`COMMENT ON DATABASE ${quoteIdentifier(database)} IS NULL`);
  await session.query(`ALTER DATABASE ${quoteIdentifier(database)} RESET ALL`);
  losses.push(...(await setProperties(session, database, manifest, noOwner === true)));
  await session.commit().catch(async (error: unknown) => {
    const other = await again();
    try {
      // It may still be committing.
      await other.query(
        `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = $1 AND ${OWN_ROLE}`,
        [session.pid],
      );
      const rows = await other.query('SELECT FROM pg_database WHERE oid = $1::oid AND datname = $2', [
        renamed?.oid,
        database,
      ]);
      if (rows.length === 0) throw error;
    } finally {
      await other.close();
    }
  });
  return losses;
}

const DUPLICATE_DATABASE = '42P04';

function nameTaken({ server }: Session, database: string, cause: unknown): Failure {
  return new Failure(
    'TARGET_REFUSED',
    'permanent',
    `A database ${database} appeared on ${server} during the recover. It was left alone.`,
    { hint: 'Choose another name, or rename that database first.', cause },
  );
}

/**
 * Gives an unfinished database its properties, and takes them back.
 * @returns those that PostgreSQL refused, for people
 */
export async function tryProperties(session: Session, name: string, manifest: Manifest): Promise<string[]> {
  await session.query('BEGIN');
  try {
    return await setProperties(session, name, manifest, false);
  } finally {
    await session.query('ROLLBACK').catch(() => undefined); // A lost connection has rolled back.
  }
}

/** Sets the properties of a database in the open transaction. @returns those that PostgreSQL refused, for people */
export async function setProperties(
  session: Session,
  database: string,
  manifest: Manifest,
  noOwner: boolean,
): Promise<string[]> {
  if (manifest.database === undefined) return [];
  const losses = await collationDifference(session, database, manifest);
  for (const { what, statements } of properties(database, manifest.database, noOwner)) {
    const failure = await attempt(session, async () => {
      for (const statement of statements) await session.query(statement);
    });
    if (failure !== undefined) losses.push(`${what} (${failure.message})`);
  }
  return losses;
}

interface Property {
  what: string;
  statements: string[];
}

function properties(database: string, facts: ManifestDatabase, noOwner: boolean): Property[] {
  const name = quoteIdentifier(database);
  const { owner, comment, connectionLimit, isTemplate, settings, rights } = facts;
  const alter = `ALTER DATABASE ${name}`;
  return [
    ...(comment === null
      ? []
      : [
          {
            what: 'the comment of the database',
            statements: [`COMMENT ON DATABASE ${name} IS ${quoteLiteral(comment)}`],
          },
        ]),
    ...(noOwner
      ? []
      : [
          {
            what: `the owner ${owner} of the database`,
            statements: [`${alter} OWNER TO ${quoteIdentifier(owner)}`],
          },
        ]),
    ...(connectionLimit === -1
      ? []
      : [
          {
            what: 'the connection limit of the database',
            statements: [`${alter} CONNECTION LIMIT ${connectionLimit}`],
          },
        ]),
    ...(isTemplate
      ? [{ what: 'the database being a template', statements: [`${alter} IS_TEMPLATE true`] }]
      : []),
    ...settings.map(({ role, ...setting }) => ({
      what: `the setting ${setting.name} of ${role === null ? 'the database' : `the role ${role} in the database`}`,
      statements: [
        role === null
          ? `${alter} ${setClause(setting)}`
          : `ALTER ROLE ${quoteIdentifier(role)} IN DATABASE ${name} ${setClause(setting)}`,
      ],
    })),
    ...(rights === null ? [] : rightsOf(name, owner, rights)),
  ];
}

/** A database's default rights are those of PUBLIC and its owner. */
function rightsOf(name: string, owner: string, rights: NonNullable<ManifestDatabase['rights']>): Property[] {
  const clear = {
    what: 'the rights on the database',
    statements: [`REVOKE ALL ON DATABASE ${name} FROM PUBLIC`],
  };
  const grants = rights
    .toSorted((one, other) => Number(one.grantor !== owner) - Number(other.grantor !== owner))
    .map(({ grantee, grantor, privilege, grantable }) => {
      const to = grantee === null ? 'PUBLIC' : quoteIdentifier(grantee);
      const grant = `GRANT ${privilege} ON DATABASE ${name} TO ${to}${grantable ? ' WITH GRANT OPTION' : ''}`;
      return {
        what: `the right ${privilege} of ${grantee ?? 'PUBLIC'} on the database`,
        statements:
          grantor === owner
            ? [grant]
            : [`SET LOCAL ROLE ${quoteIdentifier(grantor)}`, grant, 'SET LOCAL ROLE NONE'],
      };
    });
  return [clear, ...grants];
}

/** Indexes are new, and right for the collation of this server. Texts may sort differently. */
async function collationDifference(
  session: Session,
  database: string,
  { database: facts }: Manifest,
): Promise<string[]> {
  const before = facts?.locale.collationVersion;
  const [row] = await session.query<{ version: string | null }>(
    'SELECT pg_database_collation_actual_version(oid) AS version FROM pg_database WHERE datname = $1',
    [database],
  );
  const now = row?.version;
  if (typeof before !== 'string' || typeof now !== 'string' || before === now) return [];
  return [`the order of texts (the collation had version ${before}, and has version ${now} on this server)`];
}
