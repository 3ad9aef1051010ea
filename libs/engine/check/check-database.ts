import { addAbortListener } from 'node:events';
import {
  displayDatabase,
  isSameDatabase,
  nameOmissions,
  formatBytes,
  formatCount,
  summarizeOmissions,
} from '#common';
import type { RepositoryCheck } from '#contracts';
import {
  connectionFacts,
  type ConnectionFacts,
  countLargeObjects,
  databaseIdentity,
  expectOwnBackend,
  expectSchemas,
  findMembers,
  findPgDump,
  listOmissions,
  listTables,
  type Members,
  quoteIdentifier,
  roleRights,
  serverAddress,
  type Session,
  type Table,
} from '#postgres';
import { foreseeOmittedDefinitions, type SchemaDefinitionsMode } from '../backup/schema-definitions.js';
import { remarksOn } from '../shared/examine-repository.js';
import { openSession, type Repository } from '../shared/repository-session.js';
import { RowProgress } from '../shared/row-progress.js';
import { checkRights } from './check-rights.js';
import { checkClock } from './clock.js';
import { counted, type Findings } from './findings.js';

export interface CheckDatabaseRequest {
  /** If its `identity` is set, another database is a problem. */
  repository: Repository;
  definitions: SchemaDefinitionsMode;
  excludeLargeObjects: boolean;
  signal: AbortSignal;
}

type DatabaseFacts = Omit<RepositoryCheck, 'repository' | 'checkedOn' | 'findings'>;

/** The most tables that a check lists. */
const MOST_TABLES = 2_000;
/** PostgreSQL's sizes of tables wait for their locks, which a restore may hold for hours. */
export const LIMITS = `SET lock_timeout TO '3s'; SET statement_timeout TO '60s'`;

/** Checks the connection and the database. @throws Failure if there is no connection, or if it is lost */
export async function checkDatabase(
  { repository, signal, ...request }: CheckDatabaseRequest,
  findings: Findings,
): Promise<DatabaseFacts> {
  const { identity: expected, ...place } = repository;
  const session = await openSession({
    repository: { ...place, retryForMs: 0 },
    applicationName: 'snapshotd check',
    progress: new RowProgress(() => undefined),
    signal,
  });
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    await session.query(LIMITS);
    const url = repository.url.reveal();
    const facts = await connectionFacts(session, url);
    const identity = await databaseIdentity(session);
    findings.ok('reachable', `PostgreSQL answers at ${session.server}.`);
    await findings.part('reachable', () =>
      expectOwnBackend(session.client, url, repository.urlName ?? 'REPOSITORY_URL'),
    );
    if (expected !== undefined && isSameDatabase(identity, expected) === false)
      findings.problem(
        'identity',
        `The URL leads to ${displayDatabase(identity)}, and the repository is ${displayDatabase(expected)}.`,
      );
    checkConnection(facts, findings);
    checkClock(findings, 'PostgreSQL', facts.clockAheadMs);
    const known: DatabaseFacts = {
      target: {
        database: identity.databaseName,
        ...serverAddress(url),
        systemIdentifier: identity.systemIdentifier,
      },
      version: facts.version,
      tls: facts.tls,
      role: facts.role,
      bytes: null,
      estimatedRows: null,
      tables: null,
      omissions: [],
    };
    const members = await findMembers(session, repository.scope);
    await findings.part('role', async () => {
      const rights = await roleRights(session, members);
      for (const { kind, message } of remarksOn({ identity, rights }).filter(
        (one) => one.kind !== 'BACKS_UP_ONLY',
      ))
        if (kind === 'IDENTITY_UNKNOWN')
          findings.warning('identity', 'snapshotd cannot identify this database.', [
            `GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO ${quoteIdentifier(rights.role)};`,
          ]);
        else findings.warning('role', message);
      if (!rights.superuser && rights.more.length === 0)
        findings.ok('role', `The role ${rights.role} has no rights beyond its own objects.`);
    });
    await findings.part('contents', async () => {
      expectSchemas(session, members);
      const tables = await listTables(session, members);
      Object.assign(known, contentsOf(tables, findings));
      await checkRights(session, members, tables, facts, findings);
    });
    await findings.part('omissions', async () => {
      const all = { ...request, repository, version: facts.version };
      known.omissions = await omissionsOf(session, members, all, findings);
    });
    return known;
  } finally {
    await session.close();
  }
}

/** The versions that docs/limits.md names. */
const [OLDEST, NEWEST] = [14, 18];

function checkConnection(facts: ConnectionFacts, findings: Findings): void {
  const { version, major, tls, verified, local, standby } = facts;
  if (major < OLDEST || major > NEWEST)
    findings.warning(
      'version',
      `PostgreSQL ${version} is not supported: snapshotd is for PostgreSQL ${OLDEST} to ${NEWEST}.`,
    );
  else findings.ok('version', `PostgreSQL ${version}.`);
  if (standby)
    findings.warning('version', 'The server is a standby: it takes backups only. Restore on the primary.');
  if (tls !== null && verified) findings.ok('tls', `TLS (${tls}), with a verified certificate.`);
  else if (tls !== null)
    findings.warning(
      'tls',
      `TLS (${tls}), but the worker does not verify the certificate. Set sslmode=verify-full in the URL.`,
    );
  else if (local) findings.ok('tls', 'No TLS, on one machine.');
  else
    findings.warning(
      'tls',
      'The connection has no TLS: all rows cross the network in plain text. Set sslmode=verify-full in the URL.',
    );
}

function contentsOf(
  tables: Table[],
  findings: Findings,
): Pick<DatabaseFacts, 'bytes' | 'estimatedRows' | 'tables'> {
  const sum = (kind: 'bytes' | 'estimatedRows') => tables.reduce((total, table) => total + table[kind], 0);
  const [bytes, estimatedRows] = [sum('bytes'), sum('estimatedRows')];
  if (tables.length === 0)
    findings.warning('contents', 'The repository is empty: it has no tables (0 rows).');
  else if (bytes === 0)
    findings.warning(
      'contents',
      `The repository is empty: ${tables.length === 1 ? 'its table holds' : `its ${tables.length} tables hold`} 0 rows.`,
    );
  else
    findings.ok(
      'contents',
      `${counted(tables.length, 'table')}, ${formatBytes(bytes)}, about ${formatCount(estimatedRows)} rows by PostgreSQL's estimate.`,
    );
  const largest = tables
    .map(({ schema, name, ...size }) => ({
      schema,
      name,
      bytes: size.bytes,
      estimatedRows: size.estimatedRows,
    }))
    .sort((one, other) => other.bytes - one.bytes)
    .slice(0, MOST_TABLES);
  return { bytes, estimatedRows, tables: { total: tables.length, largest } };
}

async function omissionsOf(
  session: Session,
  members: Members,
  request: Pick<CheckDatabaseRequest, 'repository' | 'definitions' | 'excludeLargeObjects'> & {
    version: string;
  },
  findings: Findings,
): Promise<DatabaseFacts['omissions']> {
  const program =
    request.definitions === 'off'
      ? undefined
      : await findPgDump(request.repository.url.reveal(), session.client);
  const objects = request.excludeLargeObjects ? await countLargeObjects(session) : 0;
  const omitted = summarizeOmissions([
    ...(await foreseeOmittedDefinitions(session, members, { ...request, program })),
    ...(objects > 0
      ? [
          {
            kind: 'largeObject',
            count: objects,
            what: counted(objects, 'large object'),
            why: 'EXCLUDE_LARGE_OBJECTS is set',
          },
        ]
      : []),
    ...(await listOmissions(session, members)),
  ]);
  if (omitted.length === 0) findings.ok('omissions', 'A backup would omit nothing.');
  else
    findings.warning(
      'omissions',
      `A backup would omit ${nameOmissions(omitted)}: ${omitted.map(({ what, why }) => `${what} (${why})`).join('; ')}.`,
    );
  return omitted;
}
