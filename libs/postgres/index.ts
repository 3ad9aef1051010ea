// Connections, transactions and errors
export * from './connection/configured-settings.js';
export * from './connection/errors.js';
export * from './connection/identifiers.js';
export * from './connection/observer.js';
export * from './connection/own-schema.js';
export * from './connection/pooler.js';
export * from './connection/safe-start.js';
export * from './connection/server.js';
export * from './connection/session.js';
export * from './connection/transactions.js';

// Trust: tables that a query may name, the search_path of their code, and roles that may run it
export * from './trust/drill-role.js';
export * from './trust/plannable-tables.js';
export * from './trust/trusted-path.js';

// The catalog
export { listChildrenNotChosen } from './omissions/belongings.js';
export * from './catalog/members.js';
export * from './catalog/readable.js';
export * from './catalog/code-uses.js';
export { listWithoutDefault } from './catalog/column-defaults.js';
export * from './catalog/column-types.js';
export * from './catalog/database-properties.js';
export * from './catalog/materialized-views.js';
export type { Omission } from './catalog/omission.js';
export * from './omissions/database-objects.js';
export * from './omissions/omissions.js';
export * from './omissions/published-objects.js';
export * from './catalog/role-rights.js';
export * from './catalog/row-conditions.js';
export * from './catalog/sequences.js';
export { listTableDetails } from './catalog/table-details.js';
export * from './catalog/tables.js';

// Locks and snapshots
export * from './locks/lock-room.js';
export * from './locks/repository-lock.js';
export * from './locks/snapshot.js';
export * from './locks/table-locks.js';

// COPY
export * from './copy/copy-in.js';
export * from './copy/copy-out.js';
export * from './copy/copy-some-columns.js';
export * from './copy/load-order.js';
export * from './copy/table-chunks.js';

// Large objects
export * from './large-objects/compare-large-objects.js';
export * from './large-objects/read-large-objects.js';
export type { LargeObjectRight } from './large-objects/rights.js';
export * from './large-objects/write-large-objects.js';

// Suspending and reinstating what stands between a table and its load
export * from './suspend/event-triggers.js';
export * from './suspend/exact-keys.js';
export * from './suspend/ownership.js';
export * from './suspend/rules.js';
export type { Suspension } from './suspend/suspension.js';
export * from './suspend/suspensions.js';

// Creating tables and types from the facts of an archive
export * from './create/create-tables.js';
export * from './create/create-types.js';
export * from './create/scratch-defaults.js';
export * from './create/scratch-tables.js';

// Databases: unfinished ones, the swap of two, and the one that it keeps
export * from './databases/drop-kept.js';
export { keptName } from './databases/kept-name.js';
export * from './databases/swap.js';
export * from './databases/swap-obstacles.js';
export * from './databases/temporary-database.js';

// The configuration of extensions
export * from './extensions/configuration.js';
export * from './extensions/configuration-sequences.js';

// Roles
export * from './roles/roles.js';
export * from './roles/roles-sql.js';

// Schema definitions
export { cleanStatement, type SchemaText, type SqlFile } from './schema-dump/clean-text.js';
export { splitStatements } from './schema-dump/statements.js';
export { isAfterRows } from './schema-dump/table-of-contents.js';
export * from './schema-dump/locked-objects.js';
export { chooseObjects, type ChosenObjects, isHeld } from './schema-dump/chosen-objects.js';
export * from './schema-dump/pg-dump.js';
export * from './schema-dump/schema-dump.js';

// Facts for checks
export * from './check/connection-facts.js';
export * from './check/recover-rights.js';
