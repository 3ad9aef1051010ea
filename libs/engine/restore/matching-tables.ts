import type { Manifest, ManifestTable } from '#archive';
import { Failure } from '#common';
import {
  displayTable,
  listColumnTypes,
  listSequences,
  listTables,
  type Relation,
  serverFacts,
  type Session,
  type Table,
} from '#postgres';
import { type ColumnMap, columnsWithoutValue, type DroppedColumns, mapColumns } from './column-map.js';
import type { TableMapping } from './table-mapping.js';
import { TypeComparison } from './type-differences.js';

/** Differences that a message names. */
const NAMED_DIFFERENCES = 10;

/** The contents of an archive that must match live relations. */
export interface ExpectedRelations {
  schemas: string[];
  tables: ManifestTable[];
  /** Sequences that must exist. */
  sequences: Relation[];
  mapping: TableMapping;
  /** Accept other tables in the schemas. */
  allowExtraTables: boolean;
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
  expected: ExpectedRelations,
): Promise<{ matching: Table[]; columnMaps: ColumnMap[] }> {
  const { schemas: archivedSchemas, tables, sequences, mapping, allowExtraTables } = expected;
  const schemas = [...new Set(archivedSchemas.map((schema) => mapping({ schema, name: '' }).schema))];
  const live = await listTables(session, schemas);
  const here = await serverFacts(session, [...archivedSchemas, ...schemas]);
  const differences: string[] = [];
  if (here.encoding !== manifest.server.encoding)
    differences.push(
      `the database's encoding is ${here.encoding} here and ${manifest.server.encoding} in the archive`,
    );
  for (const { name } of manifest.extensions)
    if (!here.extensions.includes(name)) differences.push(`the extension ${name} is missing here`);

  const quoted = (schema: string) => here.quoted.get(schema) ?? schema;
  const types = new TypeComparison(
    manifest.types,
    await listColumnTypes(session, live),
    archivedSchemas.map((schema) => [quoted(schema), quoted(mapping({ schema, name: '' }).schema)]),
  );
  const matching: Table[] = [];
  const liveByName = named(live);
  for (const archived of tables) {
    const target = mapping(archived);
    const table = liveByName.get(key(target));
    if (table === undefined) differences.push(`the table ${displayTable(target)} is missing here`);
    else {
      matching.push(table);
      differences.push(...columnDifferences(archived, table, types, expected));
    }
  }
  differences.push(...types.differences);
  const liveSequences = named(await listSequences(session, schemas));
  for (const sequence of sequences)
    if (!liveSequences.has(key(mapping(sequence))))
      differences.push(`the sequence ${displayTable(mapping(sequence))} is missing here`);
  if (!allowExtraTables) {
    const archived = named(tables.map(mapping));
    for (const table of live)
      if (!archived.has(key(table)))
        differences.push(
          `the archive holds no table ${displayTable(table)} (allowExtraTables leaves it alone)`,
        );
  }
  const columnMaps = mapColumns(tables, matching.length === tables.length ? matching : [], expected);
  if (expected.allowExtraColumns) differences.push(...(await columnsWithoutValue(session, columnMaps)));
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
  return new Failure(
    'ARCHIVE_DOES_NOT_FIT',
    'permanent',
    `The archive does not fit the repository: ${differences.slice(0, NAMED_DIFFERENCES).join('; ')}${more}.`,
    {
      hint: `Nothing was changed. Change the schema back to its state at the time of the backup.${newer}`,
    },
  );
}

/** Compares columns by name, as rows are loaded. Their order may differ. */
function columnDifferences(
  archived: ManifestTable,
  live: Table,
  types: TypeComparison,
  { allowExtraColumns, dropped }: ExpectedRelations,
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
