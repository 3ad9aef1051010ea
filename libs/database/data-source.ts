import { DataSource, type DataSourceOptions } from 'typeorm';
import { OWN_SCHEMAS, type Secret } from '#config';
import { Account } from './accounts/account.entity.js';
import { Session } from './accounts/session.entity.js';
import { CreateAccounts1795000000000 } from './migrations/1795000000000-create-accounts.js';
import { CreateRepository1795000000001 } from './migrations/1795000000001-create-repository.js';
import { AccessControlList } from './repository/access-control-list.entity.js';
import { AccessGrant } from './repository/access-grant.entity.js';
import { Node } from './repository/node.entity.js';
import { Principal } from './repository/principal.entity.js';
import { Revision } from './repository/revision.entity.js';

/** Any number that other programs are unlikely to lock. */
const MIGRATION_LOCK = 7_238_118;

export function databaseOptions(url: Secret): DataSourceOptions {
  return {
    type: 'postgres',
    url: url.reveal(),
    applicationName: 'snapshotd',
    schema: OWN_SCHEMAS.accounts,
    entities: [Account, Session, Node, Revision, AccessControlList, AccessGrant, Principal],
    migrations: [CreateAccounts1795000000000, CreateRepository1795000000001],
    migrationsTransactionMode: 'all',
    extra: { connectionTimeoutMillis: 5_000 },
  };
}

/** Connects and runs pending migrations, one process at a time: any number may start at once. */
export async function openDatabase(options: DataSourceOptions): Promise<DataSource> {
  const database = await new DataSource(options).initialize();
  const locker = database.createQueryRunner();
  try {
    await locker.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await locker.query(`CREATE SCHEMA IF NOT EXISTS ${OWN_SCHEMAS.accounts}`);
    await database.runMigrations();
    await locker.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]);
    return database;
  } catch (error) {
    await locker.release();
    await database.destroy();
    throw error;
  } finally {
    if (!locker.isReleased) await locker.release();
  }
}
