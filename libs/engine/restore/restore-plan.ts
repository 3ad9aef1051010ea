import type { ManifestTable, OpenArchive } from '#archive';
import type { Scope } from '#config';
import {
  checkMayCreate,
  checkOwnership,
  scratchTableStatements,
  type EventTriggerPlan,
  expectPrimary,
  type LateIndex,
  listChildrenNotChosen,
  listCodeUses,
  listInsertRules,
  listMaterializedViews,
  listSuspensions,
  listOwnedSequences,
  listSequences,
  listTrustedPaths,
  loadOrder,
  missingSchemas,
  type Suspension,
  rememberKeys,
  type RememberedKeys,
  planEventTriggers,
  type SequenceState,
  type Session,
  type Table,
  type ScratchTable,
  type NewObjects,
  newTableStatements,
  type TrustedPath,
  type ViewToRefresh,
} from '#postgres';
import {
  chooseDroppedColumns,
  type ColumnMap,
  type ColumnOptions,
  type DroppedColumns,
  withoutDropped,
} from './column-map.js';
import { type LargeObjectPlan, planLargeObjectRestore } from './large-objects.js';
import { findExpectedTables, findTargets, schemasOf } from './live-relations.js';
import { type ConfigurationPlan, planConfiguration } from './configuration-plan.js';
import { matchingTables } from './matching-tables.js';
import { planNewObjects, unlikeLive } from './new-tables.js';
import { chooseTables, type RestoreTarget, type TableMapping, tableMapping } from './table-mapping.js';

export interface RestorePlanOptions extends RestoreTarget, ColumnOptions {
  /** The part of the database that is the repository. Archives of other schemas are refused. */
  scope: Scope;
  /** Accept tables that the archive does not hold, and leave them as they are. */
  allowExtraTables: boolean;
  /** Accept rows that violate checks and keys, and reinstate these as NOT VALID. */
  keepViolations?: boolean | undefined;
  /** Accept that event triggers fire. */
  fireEventTriggers: boolean;
  /** Remove large objects that the archive does not hold. */
  removeExtraLargeObjects?: boolean | undefined;
}

/** The steps of a restore, as far as they are known before it changes anything. */
export interface RestorePlan {
  /** The tables of the archive to load. */
  archived: ManifestTable[];
  /** Maps them to their targets. */
  mapping: TableMapping;
  /** The columns that differ. */
  columnMaps: ColumnMap[];
  /** Columns of the archive whose values are not loaded. */
  dropped: DroppedColumns;
  /** Tables to create first. */
  scratchTables: ScratchTable[];
  /** Tables to create from the archive, because the live ones differ or are gone. */
  created: NewObjects;
  /** The existing tables that the rows go to. */
  tables: Table[];
  /** Under their mapped names. */
  sequences: SequenceState[];
  /** The rows of extensions' configuration to replace before those of the tables. */
  configuration: ConfigurationPlan['tables'];
  suspensions: Suspension[];
  /** The tables of the archive to load last, in this order: see {@link loadOrder}. */
  late: ManifestTable[];
  /** Properties of foreign keys that adding them again does not restore. */
  keys: RememberedKeys;
  keepViolations: boolean;
  /** Indexes to rebuild after the rows. */
  lateIndexes: LateIndex[];
  /** Objects that the restore cannot reinstate exactly, by name. */
  inexact: string[];
  views: ViewToRefresh[];
  /** Missing if the restore leaves large objects alone. */
  largeObjects: LargeObjectPlan | undefined;
  eventTriggers: EventTriggerPlan;
  /** The search_path under which code of a relation runs, by OID: see {@link listTrustedPaths}. */
  paths: Map<number, TrustedPath>;
  /** The same for a table of the archive, by the live table that it belongs to. */
  pathOf: (table: object) => TrustedPath | undefined;
  /** Replace the rows of the tables. Otherwise the tables must be empty. */
  replace: boolean;
}

/** From this size on, rebuilding a table's indexes after its rows is faster: bytes of CSV. */
const REBUILD_INDEXES_FROM_BYTES = 4 * 1024 * 1024;

/**
 * Plans a restore, and checks everything that it requires of the repository. Verifications use it, too.
 * @throws Failure ARCHIVE_DOES_NOT_FIT, DESTINATION_REFUSED, OWNERSHIP_MISSING, DATABASE_PERMISSION_DENIED,
 * EVENT_TRIGGER, SERVER_IS_STANDBY
 */
export async function planRestore(
  session: Session,
  archive: OpenArchive,
  options: RestorePlanOptions,
): Promise<RestorePlan> {
  const { manifest } = archive;
  await expectPrimary(session);
  const chosen = chooseTables(manifest, options);
  const mapping = tableMapping(options, chosen);
  const dropped = chooseDroppedColumns(chosen, options);
  const all = options.tables === undefined;
  const elsewhere = options.intoSchemas !== undefined;
  const create = options.create === true;
  const archivedSchemas =
    all && !elsewhere ? schemasOf(manifest) : [...new Set(chosen.map(({ schema }) => schema))];
  const { scope } = options;
  const live = await findTargets(session, manifest, {
    scope,
    archivedSchemas,
    // Tables that are created like the live ones must match those.
    mapping: create ? (relation) => relation : mapping,
    elsewhere: elsewhere && !create,
    mayBeGone: create,
  });
  const gone = create ? await unlikeLive(session, manifest, chosen, live) : [];
  const created = await planNewObjects(session, manifest, gone, { ...options, mapping });
  const archived = chosen.filter((table) => !gone.includes(table));
  const { matching, columnMaps } = await matchingTables(session, manifest, {
    schemas: archivedSchemas,
    live,
    expected:
      options.allowExtraTables || elsewhere || !all ? undefined : await findExpectedTables(session, manifest),
    tables: archived,
    sequences: all && !elsewhere ? withoutDropped(manifest.sequences, dropped) : [],
    mapping: create ? (relation) => relation : mapping,
    allowExtraColumns: options.allowExtraColumns === true,
    dropped,
  });
  const tables = create ? [] : matching;
  // Restores of some tables, or into other schemas, leave the configuration of extensions alone.
  const configuration =
    all && !elsewhere ? await planConfiguration(session, manifest) : { tables: [], sequences: [] };
  const configured = configuration.tables.map((one) => one.live);
  const touched = [...matching, ...configured];
  const scratchTables = create ? touched.map((table) => ({ like: table, scratch: mapping(table) })) : [];
  const large = matching.filter((_, index) => lengthOf(archived[index]) >= REBUILD_INDEXES_FROM_BYTES);
  // A scratch table has neither foreign keys nor triggers; its columns share their domains with the live table's.
  const uses = await listCodeUses(session, touched);
  const keepViolations = options.keepViolations === true;
  const suspended = { large, uses, keepViolations };
  const rewritten = columnMaps.filter((map) => map.dropped.length > 0);
  const suspensions = [
    ...(await listInsertRules(session, rewritten)),
    ...(await listSuspensions(session, touched, suspended)),
  ].filter(({ table }) => !create || !table);
  const order = await loadOrder(session, matching, uses);
  const notChosen = all ? [] : await listChildrenNotChosen(session, matching, live);
  const populated = all ? (manifest.populatedViews ?? []) : [];
  const views = elsewhere
    ? []
    : await listMaterializedViews(session, {
        schemas: archivedSchemas,
        tables: [...tables, ...configured],
        populated,
      });
  const validated = suspensions.flatMap(({ validates, validate }) =>
    [validates, validate?.under].flatMap((oid) => (oid === undefined ? [] : { oid })),
  );
  const paths = await listTrustedPaths(session, matching, [...validated, ...views, ...configured]);
  const liveTables = new Map<object, Table | undefined>([
    ...archived.map((table, index): [object, Table | undefined] => [table, matching[index]]),
    ...configuration.tables.map((one): [object, Table] => [one.archived, one.live]),
  ]);
  // In other schemas, or for some tables only, take only the sequences that belong to the tables.
  const existing =
    all && !elsewhere ? await listSequences(session, live) : await listOwnedSequences(session, tables);
  const sequences = manifest.sequences
    .map((sequence) => ({ ...sequence, ...mapping(sequence) }))
    .filter(({ schema, name }) => existing.some((one) => one.schema === schema && one.name === name))
    .concat(elsewhere ? [] : configuration.sequences);

  await checkOwnership(session, [...tables, ...sequences], suspensions);
  if (create)
    await checkMayCreate(session, [
      ...scratchTables.map(({ scratch }) => scratch),
      ...created.tables.flatMap(({ target, sequences: own }) => [target, ...own]),
    ]);
  const removeExtra = options.removeExtraLargeObjects === true;
  const largeObjects =
    all && !elsewhere ? await planLargeObjectRestore(session, archive, removeExtra) : undefined;
  const statements = [
    ...(largeObjects?.statements ?? []),
    ...scratchTableStatements(
      scratchTables,
      await missingSchemas(session, [
        ...scratchTables,
        ...created.tables.map(({ target }) => ({ scratch: target })),
      ]),
    ),
    ...newTableStatements(created),
    ...suspensions.flatMap(({ suspend, reinstate, validate }) => [
      suspend,
      ...reinstate,
      ...(validate === undefined ? [] : [validate.statement]),
    ]),
    ...order.indexes.map(() => 'REINDEX'),
    ...order.columns.map(() => 'ALTER TABLE'),
    ...rewritten.map(() => 'CREATE TABLE AS'),
    ...sequences.map(() => 'ALTER SEQUENCE'),
    ...views.map(() => 'REFRESH MATERIALIZED VIEW'),
  ];
  const eventTriggers = await planEventTriggers(session, statements, options.fireEventTriggers);
  return {
    archived: [...archived, ...gone],
    created,
    mapping,
    columnMaps,
    dropped,
    scratchTables,
    tables,
    sequences,
    configuration: configuration.tables,
    suspensions,
    late: order.late.flatMap((table) => archived[matching.indexOf(table)] ?? []),
    // The functions of a scratch table read the live tables, which have their rows.
    lateIndexes: create
      ? []
      : order.indexes.filter(({ oid }) => !suspensions.some(({ index }) => index === oid)),
    inexact: [...notChosen, ...(create ? [] : order.inexact)],
    keys: await rememberKeys(session, create ? [] : touched),
    keepViolations,
    views,
    largeObjects,
    eventTriggers,
    paths,
    pathOf: (table) => paths.get(liveTables.get(table)?.oid ?? 0),
    replace: !elsewhere,
  };
}

/** The locks that a restore takes besides those of tables: an estimate. */
export function furtherLocks({ sequences, largeObjects }: RestorePlan): number {
  return sequences.length + (largeObjects?.locks ?? 0);
}

/** The tables that a restore loads, or the models of its scratch tables: these need the same number of locks. */
export function touchedTables({ tables, configuration, scratchTables }: RestorePlan): { oid: number }[] {
  const configured = scratchTables.length > 0 ? [] : configuration.map(({ live }) => live);
  return [...tables, ...configured, ...scratchTables.map(({ like }) => like)];
}

/** Bytes of CSV. */
function lengthOf(table: ManifestTable | undefined): number {
  return (table?.entries ?? []).reduce((sum, { length }) => sum + length, 0);
}
