import type { Manifest, ManifestTable } from '#archive';
import { Failure } from '#common';
import {
  displayTable,
  listColumnTypes,
  listSequences,
  listTables,
  type Members,
  nameTables,
  type Relation,
  serverFacts,
  type Session,
  type Table,
} from '#postgres';
import { type ColumnMap, columnsWithoutValue, type DroppedColumns, mapColumns } from './column-map.js';
import { countsAsExtra } from './live-relations.js';
import type { TableMapping } from './table-mapping.js';
import { TypeComparison } from './type-differences.js';

/** Differences that a message names. */
const NAMED_DIFFERENCES = 10;

/** The contents of an archive that must match live relations. */
export interface ExpectedRelations {
  schemas: string[];
  /** The live relations that the rows may go to. */
  live: Members;
  /** The live tables that the archive should hold; missing if others are accepted. */
  expected: Members | undefined;
  tables: ManifestTable[];
  /** Sequences that must exist. */
  sequences: Relation[];
  mapping: TableMapping;
  /** Accept other columns in the tables. */
  allowExtraColumns: boolean;
  /** Columns of the archive that need not exist. */
  dropped: DroppedColumns;
}

/**
 * Compares the definitions of the live tables with those in the archive.
 * @returns the live tables that the rows go to, in the order of the expected ones, and the columns that differ
 * @throws Failure ARCHIVE_DOES_NOT_FIT that names the differences
 */
export async function matchingTables(
  session: Session,
  manifest: Manifest,
  relations: ExpectedRelations,
): Promise<{ matching: Table[]; columnMaps: ColumnMap[] }> {
  const { schemas: archivedSchemas, live: members, expected, tables, sequences, mapping } = relations;
  const schemas = [...new Set(archivedSchemas.map((schema) => mapping({ schema, name: '' }).schema))];
  const live = await listTables(session, members);
  const here = await serverFacts(session, [...archivedSchemas, ...schemas]);
  const differences: string[] = [];
  if (here.encoding !== manifest.server.encoding)
    differences.push(
      `the database's encoding is ${here.encoding} here and ${manifest.server.encoding} in the archive`,
    );
  for (const { name } of manifest.extensions)
    if (!here.extensions.includes(name)) differences.push(`the extension ${name} is missing here`);

  const quoted = (schema: string) => here.quoted.get(schema) ?? schema;
  const liveByName = named(live);
  const types = new TypeComparison(
    manifest.types,
    await listColumnTypes(
      session,
      tables.flatMap((archived) => liveByName.get(key(mapping(archived))) ?? []),
    ),
    archivedSchemas.map((schema) => [quoted(schema), quoted(mapping({ schema, name: '' }).schema)]),
  );
  const matching: Table[] = [];
  for (const archived of tables) {
    const target = mapping(archived);
    const table = liveByName.get(key(target));
    if (table === undefined) differences.push(`the table ${displayTable(target)} is missing here`);
    else {
      matching.push(table);
      differences.push(...columnDifferences(archived, table, types, relations));
    }
  }
  differences.push(...types.differences);
  const liveSequences = named(await listSequences(session, members));
  for (const sequence of sequences)
    if (!liveSequences.has(key(mapping(sequence))))
      differences.push(`the sequence ${displayTable(mapping(sequence))} is missing here`);
  if (expected !== undefined) {
    const archived = named(tables);
    for (const table of await nameTables(session, expected))
      if (!archived.has(key(table)) && countsAsExtra(manifest, table))
        differences.push(
          `the archive holds no table ${displayTable(table)} (allowExtraTables leaves it alone)`,
        );
  }
  const columnMaps = mapColumns(tables, matching.length === tables.length ? matching : [], relations);
  if (relations.allowExtraColumns) differences.push(...(await columnsWithoutValue(session, columnMaps)));
  if (differences.length > 0) throw doesNotFit(differences, manifest, here.version);
  return { matching, columnMaps };
}

function doesNotFit(differences: string[], manifest: Manifest, version: string): Failure {
  const more =
    differences.length > NAMED_DIFFERENCES ? `; and ${differences.length - NAMED_DIFFERENCES} more` : '';
  const newer =
    parseInt(manifest.server.version) > parseInt(version)
      ? ` The archive comes from PostgreSQL ${manifest.server.version}, this server is ${version}: it cannot restore types that it does not know.`
      : '';
  const [first] = manifest.tables.filter(({ details }) => details !== undefined);
  const beside =
    first === undefined
      ? ''
      : ` Or bring tables back beside the live ones: set "intoSchemas", such as {"${first.schema}": "${first.schema}_restored"}, and "create": true.`;
  return new Failure(
    'ARCHIVE_DOES_NOT_FIT',
    'permanent',
    `The archive does not fit the repository: ${differences.slice(0, NAMED_DIFFERENCES).join('; ')}${more}.`,
    {
      hint: `Nothing was changed. Change the schema back to its state at the time of the backup.${beside}${newer}`,
    },
  );
}

/** Compares columns by name, as rows are loaded. Their order may differ. */
export function columnDifferences(
  archived: ManifestTable,
  live: Table,
  types: TypeComparison,
  { allowExtraColumns, dropped }: Pick<ExpectedRelations, 'allowExtraColumns' | 'dropped'>,
): string[] {
  const table = displayTable(live);
  const differences: string[] = [];
  const liveByName = new Map(live.columns.map((column) => [column.name, column]));
  const gone = dropped.get(archived);
  for (const column of archived.columns) {
    if (gone?.has(column.name)) continue;
    const here = liveByName.get(column.name);
    if (here === undefined)
      differences.push(
        `the column ${table}.${column.name} is missing here (dropColumns leaves its values out)`,
      );
    else if (!types.sameName(column.type, here.type))
      differences.push(
        `the column ${table}.${column.name} is ${here.type} here and ${column.type} in the archive`,
      );
    else if (here.generated !== column.generated)
      differences.push(
        `the column ${table}.${column.name} is generated ${here.generated ? 'here' : 'in the archive'} only`,
      );
    else if (!column.generated) types.compare(column.type, here.type);
  }
  if (allowExtraColumns) return differences;
  const archivedNames = new Set(archived.columns.map(({ name }) => name));
  for (const { name } of live.columns)
    if (!archivedNames.has(name))
      differences.push(
        `the archive holds no column ${table}.${name} (allowExtraColumns gives it its default)`,
      );
    else if (gone?.has(name))
      differences.push(
        `the column ${table}.${name} exists here, and would lose its values (allowExtraColumns gives it its default)`,
      );
  return differences;
}

function named<Named extends Relation>(relations: Named[]): Map<string, Named> {
  return new Map(relations.map((relation) => [key(relation), relation]));
}

/** Unique for each relation, unlike displayTable. */
function key({ schema, name }: Relation): string {
  return JSON.stringify([schema, name]);
}
