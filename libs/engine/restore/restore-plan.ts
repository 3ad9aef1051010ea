import type { Manifest, ManifestTable } from '#archive';
import { Failure } from '#common';
import {
  checkMayCreate,
  checkOwnership,
  scratchTableStatements,
  type EventTriggerPlan,
  expectPrimary,
  type LateIndex,
  listChildrenNotChosen,
  listCodeUses,
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
  type TrustedPath,
  type ViewToRefresh,
  type Without,
  usesThatRead,
} from '#postgres';
import { matchingTables } from './matching-tables.js';
import { chooseTables, type Destination, type TableMapping, tableMapping } from './table-mapping.js';

export interface RestorePlanOptions extends Destination {
  /** What the settings name: an archive of other schemas is not of this repository. */
  schemas: string[];
  /** Leave tables alone that the archive does not hold, instead of refusing. */
  allowExtraTables: boolean;
  /** Whether rows may violate checks and keys, which then come back unvalidated. */
  keepViolations?: boolean | undefined;
  /** Whether all will be rolled back, as a drill is. */
  rollsBack?: boolean;
  /** Let event triggers fire. */
  fireEventTriggers: boolean;
}

/** What a restore is about to do, as far as that is known before it changes anything. */
export interface RestorePlan {
  /** What of the archive is loaded. */
  archived: ManifestTable[];
  /** Where that goes. */
  mapping: TableMapping;
  /** Tables to be made first. */
  scratchTables: ScratchTable[];
  /** The tables that are there already and that the rows go to. */
  tables: Table[];
  /** In their new mapping. */
  sequences: SequenceState[];
  suspensions: Suspension[];
  /** What of the archive is loaded after all else, in this order: see {@link loadOrder}. */
  late: ManifestTable[];
  /** What adding foreign keys again does not bring back. */
  keys: RememberedKeys;
  keepViolations: boolean;
  /** What a drill's copies go without, because its functions may read live tables, whose rows are others. */
  without: Without;
  /** To be built again after the rows. */
  lateIndexes: LateIndex[];
  /** What will not be as it was, by name. */
  inexact: string[];
  views: ViewToRefresh[];
  eventTriggers: EventTriggerPlan;
  /** Under which search_path code of relations runs, by OID: see {@link listTrustedPaths}. */
  paths: Map<number, TrustedPath>;
  /** The same for the table that a table of the archive goes to, or whose copy it goes to. */
  pathOf: (table: ManifestTable) => TrustedPath | undefined;
  /** Whether rows are there to be replaced. Elsewhere the tables must be empty. */
  replace: boolean;
}

/** Bytes of CSV from which on a table's indexes are made anew after its rows are there. Below, it makes no odds. */
const REBUILD_INDEXES_FROM_BYTES = 4 * 1024 * 1024;

/**
 * All that a restore demands of the repository before it changes anything, and that a verification checks.
 * @throws Failure ARCHIVE_DOES_NOT_FIT, DESTINATION_REFUSED, OWNERSHIP_MISSING, DATABASE_PERMISSION_DENIED,
 * EVENT_TRIGGER, SERVER_IS_STANDBY
 */
export async function planRestore(
  session: Session,
  manifest: Manifest,
  options: RestorePlanOptions,
): Promise<RestorePlan> {
  await expectPrimary(session);
  const archived = chooseTables(manifest, options);
  const mapping = tableMapping(options, archived);
  const all = options.tables === undefined;
  const elsewhere = options.intoSchemas !== undefined;
  const create = options.create === true;
  const archivedSchemas =
    all && !elsewhere ? manifest.schemas : [...new Set(archived.map(({ schema }) => schema))];
  checkSchemas(archivedSchemas, options.schemas);

  const matching = await matchingTables(session, manifest, {
    schemas: archivedSchemas,
    tables: archived,
    sequences: all && !elsewhere ? manifest.sequences : [],
    // What is to be made like the live tables must fit those.
    mapping: create ? (relation) => relation : mapping,
    allowExtraTables: options.allowExtraTables || elsewhere || !all,
  });
  const tables = create ? [] : matching;
  const copies = create ? matching.map((table) => ({ like: table, scratch: mapping(table) })) : [];
  const large = matching.filter((_, index) => lengthOf(archived[index]) >= REBUILD_INDEXES_FROM_BYTES);
  // A copy has neither foreign keys nor triggers; its columns share their domains with the live table's.
  const uses = await listCodeUses(session, matching);
  const keepViolations = options.keepViolations === true;
  const forGood = options.rollsBack === true;
  // A drill is to find rows that checks refuse: only those go that would read the live tables.
  const suspendedUses = forGood ? await usesThatRead(session, uses) : uses;
  const suspended = { large, uses: suspendedUses, keepViolations, forGood };
  const suspensions = (await listSuspensions(session, matching, suspended)).filter(
    ({ table }) => !create || !table,
  );
  const order = await loadOrder(session, matching, uses);
  const heirs = [...options.schemas, ...matching.map(({ schema }) => schema)];
  const notChosen = all ? [] : await listChildrenNotChosen(session, matching, heirs);
  const populated = all ? (manifest.populatedViews ?? []) : [];
  const views = elsewhere
    ? []
    : await listMaterializedViews(session, { schemas: archivedSchemas, tables, populated });
  const validated = suspensions.flatMap(({ validates, validate }) =>
    [validates, validate?.under].flatMap((oid) => (oid === undefined ? [] : { oid })),
  );
  const paths = await listTrustedPaths(session, matching, [...validated, ...views]);
  const liveTables = new Map(archived.map((table, index) => [table, matching[index]]));
  // Elsewhere, and of some tables only, those that belong to the tables: others may serve somebody else.
  const there =
    all && !elsewhere
      ? await listSequences(
          session,
          archivedSchemas.map((schema) => mapping({ schema, name: '' }).schema),
        )
      : await listOwnedSequences(session, tables);
  const sequences = manifest.sequences
    .map((sequence) => ({ ...sequence, ...mapping(sequence) }))
    .filter(({ schema, name }) => there.some((one) => one.schema === schema && one.name === name));

  await checkOwnership(session, [...tables, ...sequences], suspensions);
  if (create)
    await checkMayCreate(
      session,
      copies.map(({ scratch }) => scratch),
    );
  const statements = [
    ...scratchTableStatements(copies, await missingSchemas(session, copies)),
    ...suspensions.flatMap(({ suspend, reinstate, validate }) => [
      suspend,
      ...reinstate,
      ...(validate === undefined ? [] : [validate.statement]),
    ]),
    ...order.indexes.map(() => (options.rollsBack === true ? 'DROP INDEX' : 'REINDEX')),
    ...(options.rollsBack === true ? ['ALTER TABLE'] : []),
    ...order.columns.map(() => 'ALTER TABLE'),
    ...sequences.map(() => 'ALTER SEQUENCE'),
    ...views.map(() => 'REFRESH MATERIALIZED VIEW'),
  ];
  const eventTriggers = await planEventTriggers(session, statements, options.fireEventTriggers);
  return {
    archived,
    mapping,
    scratchTables: copies,
    tables,
    sequences,
    suspensions,
    late: order.late.flatMap((table) => archived[matching.indexOf(table)] ?? []),
    // A copy's functions read the live tables, whose rows are there.
    lateIndexes: create
      ? []
      : order.indexes.filter(({ oid }) => !suspensions.some(({ index }) => index === oid)),
    inexact: [...notChosen, ...(create ? [] : order.inexact)],
    keys: await rememberKeys(session, tables),
    keepViolations,
    without: options.rollsBack === true ? order : { indexes: [], columns: [] },
    views,
    eventTriggers,
    paths,
    pathOf: (table) => paths.get(liveTables.get(table)?.oid ?? 0),
    replace: !elsewhere,
  };
}

/** The tables that a restore loads, or those that it makes others like: these need as many locks. */
export function touchedTables({ tables, scratchTables }: RestorePlan): { oid: number }[] {
  return [...tables, ...scratchTables.map(({ like }) => like)];
}

/** Bytes of CSV. */
function lengthOf(table: ManifestTable | undefined): number {
  return (table?.entries ?? []).reduce((sum, { length }) => sum + length, 0);
}

/** What is restored must be of this repository: its schemas are those that the settings name, or some of them. */
function checkSchemas(archived: string[], schemas: string[]): void {
  const strangers = archived.filter((schema) => !schemas.includes(schema));
  if (strangers.length > 0)
    throw new Failure(
      'ARCHIVE_DOES_NOT_FIT',
      'permanent',
      `The archive holds the schemas ${strangers.join(', ')}, which are not in REPOSITORY_SCHEMAS (${schemas.join(', ')}).`,
      { hint: 'Nothing was changed. Choose an archive of this repository.' },
    );
}
