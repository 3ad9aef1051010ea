import type pg from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { OWN_SCHEMAS, type Secret } from '#config';
import {
  displayServer,
  expectOwnBackend,
  makeOwnSchema,
  OWN_SCHEMA_COMMENT,
  startSafely,
  tlsFailure,
} from '#postgres';
import { Account } from './accounts/account.entity.js';
import { ApiKey } from './accounts/api-key.entity.js';
import { LoginSession } from './accounts/login-session.entity.js';
import { AuditEvent, AuditOutcome } from './audit/audit-event.entity.js';
import { CreateAccounts1795000000000 } from './migrations/1795000000000-create-accounts.js';
import { CreateRepository1795000000001 } from './migrations/1795000000001-create-repository.js';
import { CreateApiKeys1796000000000 } from './migrations/1796000000000-create-api-keys.js';
import { CreateAudit1796000000001 } from './migrations/1796000000001-create-audit.js';
import { CreateSchedules1796000002000 } from './migrations/1796000002000-create-schedules.js';
import { CreateWebhooks1796000003000 } from './migrations/1796000003000-create-webhooks.js';
import { NoteStepsOfRuns1797000000000 } from './migrations/1797000000000-note-steps-of-runs.js';
import { CountRefusals1797000000001 } from './migrations/1797000000001-count-refusals.js';
import { GiveRepositoryToItsOwner1797000000002 } from './migrations/1797000000002-give-repository-to-its-owner.js';
import { NoteLostRows1797000000003 } from './migrations/1797000000003-note-lost-rows.js';
import { NameVerificationLevels1798000000000 } from './migrations/1798000000000-name-verification-levels.js';
import { CreateRepositories1799000000000 } from './migrations/1799000000000-create-repositories.js';
import { StoredRepository } from './repositories/stored-repository.entity.js';
import { AccessControlList } from './sample-content/access-control-list.entity.js';
import { AccessGrant } from './sample-content/access-grant.entity.js';
import { Node } from './sample-content/node.entity.js';
import { Principal } from './sample-content/principal.entity.js';
import { Revision } from './sample-content/revision.entity.js';
import { ScheduleArchive } from './schedules/schedule-archive.entity.js';
import { ScheduleRun } from './schedules/schedule-run.entity.js';
import { Schedule } from './schedules/schedule.entity.js';

const CONNECT_TIMEOUT_MS = 5_000;

/** Accepts a data source, a repository or a transaction. */
interface Queryable {
  query<Rows>(text: string): Promise<Rows>;
}

/** The options of a data source for snapshotd's own tables and the sample content. */
export function databaseOptions(url: Secret): DataSourceOptions {
  return {
    type: 'postgres',
    url: url.reveal(),
    applicationName: 'snapshotd',
    schema: OWN_SCHEMAS.accounts,
    entities: [
      Account,
      LoginSession,
      ApiKey,
      AuditEvent,
      AuditOutcome,
      Schedule,
      ScheduleRun,
      ScheduleArchive,
      StoredRepository,
      // The sample content model: the tables of the schema `repository`, which REPOSITORY_SCHEMAS names by default. Every
      // installation gets them, so that the first backup with an empty request body finds something to back up.
      Node,
      Revision,
      AccessControlList,
      AccessGrant,
      Principal,
    ],
    migrations: [
      CreateAccounts1795000000000,
      CreateRepository1795000000001,
      CreateApiKeys1796000000000,
      CreateAudit1796000000001,
      CreateSchedules1796000002000,
      CreateWebhooks1796000003000,
      NoteStepsOfRuns1797000000000,
      CountRefusals1797000000001,
      GiveRepositoryToItsOwner1797000000002,
      NoteLostRows1797000000003,
      NameVerificationLevels1798000000000,
      CreateRepositories1799000000000,
    ],
    migrationsTransactionMode: 'all',
    // The pool waits for onConnect before it provides a connection.
    extra: {
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      onConnect: (client: pg.ClientBase) => startSafely(client),
    },
  };
}

/**
 * Runs pending migrations and connects.
 * @param answerWithinMs limits the time for a connection and for a query; missing for no limit
 */
export async function openDatabase(options: DataSourceOptions, answerWithinMs?: number): Promise<DataSource> {
  await migrate(options);
  if (answerWithinMs === undefined) return new DataSource(options).initialize();
  const limits = { connectionTimeoutMillis: answerWithinMs, query_timeout: answerWithinMs };
  return new DataSource({ ...options, extra: { ...(options.extra as object), ...limits } }).initialize();
}

/**
 * Runs pending migrations, one process at a time and without a time limit. A comment on our schema is the lock, because
 * only the schema's owner can hold it. Every role that may connect could hold an advisory lock.
 */
async function migrate(options: DataSourceOptions): Promise<void> {
  const { url = '' } = options as { url?: string };
  const database = await new DataSource(options).initialize().catch((error: unknown) => {
    throw tlsFailure(error, displayServer(url)) ?? error;
  });
  try {
    const locker = database.createQueryRunner();
    try {
      await expectOwnBackend((await locker.connect()) as pg.PoolClient, url, 'DATABASE_URL');
      await makeOwnSchema((sql, values) => locker.query(sql, values), OWN_SCHEMAS.accounts);
      await locker.startTransaction();
      await locker.query(`COMMENT ON SCHEMA ${OWN_SCHEMAS.accounts} IS '${OWN_SCHEMA_COMMENT}'`);
      await database.runMigrations();
      await locker.commitTransaction();
    } finally {
      await locker.release();
    }
  } finally {
    await database.destroy(); // Releases the lock too.
  }
}

/**
 * The time by the database's clock: milliseconds since 1970. APIs compare stored times with this one, because their own
 * clocks may differ and be wrong.
 */
export async function databaseNow(database: Queryable): Promise<number> {
  const [{ now } = { now: new Date(NaN) }] = await database.query<{ now: Date }[]>('SELECT now()');
  return now.getTime();
}
