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
import type { TableMapping } from './table-mapping.js';
import { TypeComparison } from './type-differences.js';

/** So many differences are told one by one. */
const TOLD = 10;

/** What of an archive must plan, and where. */
export interface Expected {
  /** Schemas of the archive. */
  schemas: string[];
  /** Tables of the archive. */
  tables: ManifestTable[];
  /** Sequences of the archive that must be there. */
  sequences: Relation[];
  mapping: TableMapping;
  /** Whether the schemas may hold tables that are not expected. */
  allowExtraTables: boolean;
}

/**
 * Holds the live tables' definitions against those that the archive's rows came from.
 * @returns the live tables that the rows go to, in the order of the expected ones
 * @throws Failure ARCHIVE_DOES_NOT_FIT naming what differs
 */
export async function matchingTables(
  session: Session,
  manifest: Manifest,
  { schemas: archivedSchemas, tables, sequences, mapping: place, allowExtraTables }: Expected,
): Promise<Table[]> {
  const schemas = [...new Set(archivedSchemas.map((schema) => place({ schema, name: '' }).schema))];
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
    archivedSchemas.map((schema) => [quoted(schema), quoted(place({ schema, name: '' }).schema)]),
  );
  const matching: Table[] = [];
  const liveByName = named(live);
  for (const archived of tables) {
    const target = place(archived);
    const table = liveByName.get(key(target));
    if (table === undefined) differences.push(`the table ${displayTable(target)} is missing here`);
    else {
      matching.push(table);
      differences.push(...columnDifferences(archived, table, types));
    }
  }
  differences.push(...types.differences);
  const liveSequences = named(await listSequences(session, schemas));
  for (const sequence of sequences)
    if (!liveSequences.has(key(place(sequence))))
      differences.push(`the sequence ${displayTable(place(sequence))} is missing here`);
  if (!allowExtraTables) {
    const expected = named(tables.map(place));
    for (const table of live)
      if (!expected.has(key(table)))
        differences.push(
          `the archive holds no table ${displayTable(table)} (allowExtraTables leaves it alone)`,
        );
  }
  if (differences.length > 0) throw doesNotFit(differences, manifest, here.version);
  return matching;
}

function doesNotFit(differences: string[], manifest: Manifest, version: string): Failure {
  const more = differences.length > TOLD ? `; and ${differences.length - TOLD} more` : '';
  const newer =
    parseInt(manifest.server.version) > parseInt(version)
      ? ` It is of PostgreSQL ${manifest.server.version}, and this server is ${version}: types that it does not know cannot be restored.`
      : '';
  return new Failure(
    'ARCHIVE_DOES_NOT_FIT',
    'permanent',
    `The archive does not fit the repository: ${differences.slice(0, TOLD).join('; ')}${more}.`,
    {
      hint: `Nothing was changed. Bring the definitions to the state that the archive was made with.${newer}`,
    },
  );
}

/** The order of columns does not matter: rows are loaded by name. */
function columnDifferences(archived: ManifestTable, live: Table, types: TypeComparison): string[] {
  const table = displayTable(live);
  const differences: string[] = [];
  const liveByName = new Map(live.columns.map((column) => [column.name, column]));
  for (const column of archived.columns) {
    const here = liveByName.get(column.name);
    if (here === undefined) differences.push(`the column ${table}.${column.name} is missing here`);
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
  const archivedNames = new Set(archived.columns.map(({ name }) => name));
  for (const { name } of live.columns)
    if (!archivedNames.has(name)) differences.push(`the archive holds no column ${table}.${name}`);
  return differences;
}

function named<Named extends Relation>(relations: Named[]): Map<string, Named> {
  return new Map(relations.map((relation) => [key(relation), relation]));
}

/** Unlike the name that people read, this is different for different tables whatever they are called. */
function key({ schema, name }: Relation): string {
  return JSON.stringify([schema, name]);
}
