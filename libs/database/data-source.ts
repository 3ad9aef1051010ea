import type pg from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { OWN_SCHEMAS, type Secret } from '#config';
import { displayServer, expectOwnBackend, makeOwnSchema, startSafely, tlsFailure } from '#postgres';
import { Account } from './accounts/account.entity.js';
import { ApiKey } from './accounts/api-key.entity.js';
import { Session } from './accounts/session.entity.js';
import { AuditEvent } from './audit/audit-event.entity.js';
import { AuditOutcome } from './audit/audit-outcome.entity.js';
import { CreateAccounts1795000000000 } from './migrations/1795000000000-create-accounts.js';
import { CreateRepository1795000000001 } from './migrations/1795000000001-create-repository.js';
import { CreateApiKeys1796000000000 } from './migrations/1796000000000-create-api-keys.js';
import { CreateAudit1796000000001 } from './migrations/1796000000001-create-audit.js';
import { CreateSchedules1796000002000 } from './migrations/1796000002000-create-schedules.js';
import { CreateWebhooks1796000003000 } from './migrations/1796000003000-create-webhooks.js';
import { NoteStepsOfRuns1797000000000 } from './migrations/1797000000000-note-steps-of-runs.js';
import { CountRefusals1797000000001 } from './migrations/1797000000001-count-refusals.js';
import { GiveRepositoryToItsOwner1797000000002 } from './migrations/1797000000002-give-repository-to-its-owner.js';
import { AccessControlList } from './repository/access-control-list.entity.js';
import { AccessGrant } from './repository/access-grant.entity.js';
import { Node } from './repository/node.entity.js';
import { Principal } from './repository/principal.entity.js';
import { Revision } from './repository/revision.entity.js';
import { ScheduleArchive } from './schedules/schedule-archive.entity.js';
import { ScheduleRun } from './schedules/schedule-run.entity.js';
import { Schedule } from './schedules/schedule.entity.js';

const CONNECT_TIMEOUT_MS = 5_000;

export function databaseOptions(url: Secret): DataSourceOptions {
  return {
    type: 'postgres',
    url: url.reveal(),
    applicationName: 'snapshotd',
    schema: OWN_SCHEMAS.accounts,
    entities: [
      Account,
      Session,
      ApiKey,
      AuditEvent,
      AuditOutcome,
      Node,
      Revision,
      AccessControlList,
      AccessGrant,
      Principal,
      Schedule,
      ScheduleRun,
      ScheduleArchive,
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
    ],
    migrationsTransactionMode: 'all',
    // The pool waits for onConnect before it hands a connection out.
    extra: {
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      onConnect: (client: pg.ClientBase) => startSafely(client),
    },
  };
}

/**
 * Runs pending migrations and connects.
 * @param answerWithinMs how long a connection and a query may take; as long as they like when missing
 */
export async function openDatabase(options: DataSourceOptions, answerWithinMs?: number): Promise<DataSource> {
  await migrate(options);
  if (answerWithinMs === undefined) return new DataSource(options).initialize();
  const limits = { connectionTimeoutMillis: answerWithinMs, query_timeout: answerWithinMs };
  return new DataSource({ ...options, extra: { ...(options.extra as object), ...limits } }).initialize();
}

/**
 * Runs pending migrations, one process at a time: any number may start at once. They take as long as they take. A comment
 * on our schema is the lock, since nobody but the schema's owner can hold it: anybody who may connect could hold an
 * advisory lock.
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
      await locker.query(`COMMENT ON SCHEMA ${OWN_SCHEMAS.accounts} IS 'What snapshotd keeps for itself'`);
      await database.runMigrations();
      await locker.commitTransaction();
    } finally {
      await locker.release();
    }
  } finally {
    await database.destroy(); // And with it the lock.
  }
}
