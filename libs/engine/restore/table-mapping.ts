import type { Manifest, ManifestTable } from '#archive';
import { Failure } from '#common';
import { displayTable, quoteIdentifier, type Relation } from '#postgres';

/** What of an archive is to be restored, and where to. Everything, in its own place, when all is missing. */
export interface Destination {
  /** Only these tables: `schema.table`, each part in double quotes or not. A partitioned table means its partitions; one that others inherit from means itself. */
  tables?: string[] | undefined;
  /** For each schema of the archive the one that its rows go to instead. */
  intoSchemas?: Record<string, string> | undefined;
  /** Make the tables there, like those that the archive came from. */
  create?: boolean | undefined;
}

/** Gives for a relation of the archive the one that its contents go to. */
export type TableMapping = (relation: Relation) => Relation;

/**
 * @param tables those that are to be restored: all of their schemas must have a destination
 * @throws Failure DESTINATION_REFUSED
 */
export function tableMapping({ intoSchemas }: Destination, tables: ManifestTable[]): TableMapping {
  if (intoSchemas === undefined) return ({ schema, name }) => ({ schema, name });
  const into = new Map(Object.entries(intoSchemas));
  const homeless = [...new Set(tables.map(({ schema }) => schema))].filter((schema) => !into.has(schema));
  if (homeless.length > 0)
    throw refused(`intoSchemas does not say where the schema ${homeless.join(', ')} goes`);
  if (new Set(into.values()).size < into.size) throw refused('intoSchemas puts several schemas into one');
  return ({ schema, name }) => ({ schema: into.get(schema) ?? schema, name });
}

/**
 * The tables of the archive that are meant, in its order.
 * @throws Failure DESTINATION_REFUSED for a name that means none of them, or several
 */
export function chooseTables(manifest: Manifest, { tables: names }: Destination): ManifestTable[] {
  if (names === undefined) return manifest.tables;
  const chosen = new Set<ManifestTable>();
  for (const name of names) {
    const meant = manifest.tables.filter((table) => spellings(table).includes(name));
    if (meant.length > 1)
      throw refused(`${name} means several tables of the archive: put double quotes around its parts`);
    // A partitioned table holds no rows of its own.
    const partitions = manifest.tables.filter(({ partitionOf }) =>
      partitionOf.some((above) => spellings(above).includes(name)),
    );
    if (meant.length + partitions.length === 0) throw refused(`the archive holds no table ${name}`);
    for (const table of [...meant, ...partitions]) chosen.add(table);
  }
  return manifest.tables.filter((table) => chosen.has(table));
}

function spellings({ schema, name }: Relation): string[] {
  const [quotedSchema, quotedName] = [quoteIdentifier(schema), quoteIdentifier(name)];
  return [
    displayTable({ schema, name }),
    `${quotedSchema}.${quotedName}`,
    `${quotedSchema}.${name}`,
    `${schema}.${quotedName}`,
  ];
}

function refused(reason: string): Failure {
  return new Failure('DESTINATION_REFUSED', 'permanent', `This cannot be restored: ${reason}.`, {
    hint: 'Nothing was changed.',
  });
}
