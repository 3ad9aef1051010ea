import type { Manifest, ManifestTable } from '#archive';
import { Failure } from '#common';
import { displayTable, quoteIdentifier, type Relation } from '#postgres';

/** The contents of an archive to restore, and their target. By default everything, into the original tables. */
export interface RestoreTarget {
  /** Only these tables: `schema.table`, each name in double quotes or not. A partitioned table means its partitions; a table with other children means itself. */
  tables?: string[] | undefined;
  /** For each schema of the archive, the schema that its rows go to instead. */
  intoSchemas?: Record<string, string> | undefined;
  /** Create the tables there, like the live ones. */
  create?: boolean | undefined;
}

/** Maps a relation of the archive to the one that its contents go to. */
export type TableMapping = (relation: Relation) => Relation;

/**
 * Builds the mapping from `intoSchemas`, which must name every schema of the tables.
 * @throws Failure DESTINATION_REFUSED
 */
export function tableMapping({ intoSchemas }: RestoreTarget, tables: ManifestTable[]): TableMapping {
  if (intoSchemas === undefined) return ({ schema, name }) => ({ schema, name });
  const into = new Map(Object.entries(intoSchemas));
  const unmapped = [...new Set(tables.map(({ schema }) => schema))].filter((schema) => !into.has(schema));
  if (unmapped.length > 0)
    throw refused(`intoSchemas does not say where the schema ${unmapped.join(', ')} goes`);
  const back = [...into.values()].filter((schema) => into.has(schema));
  if (back.length > 0)
    throw refused(`intoSchemas leads to the schema ${back.join(', ')}, which rows come from`);
  if (new Set(into.values()).size < into.size) throw refused('intoSchemas puts several schemas into one');
  return ({ schema, name }) => ({ schema: into.get(schema) ?? schema, name });
}

/**
 * Finds the tables of the archive that are named, in the order of the archive.
 * @throws Failure DESTINATION_REFUSED for a name that means none of them, or several
 */
export function chooseTables(manifest: Manifest, { tables: names }: RestoreTarget): ManifestTable[] {
  if (names === undefined) return manifest.tables;
  const chosen = new Set<ManifestTable>();
  for (const name of names) {
    const meant = manifest.tables.filter((table) => spellings(table).includes(name));
    if (meant.length > 1)
      throw refused(`${name} means several tables of the archive: put double quotes around its parts`);
    // The rows of a partitioned table are in its partitions.
    const partitions = manifest.tables.filter(({ partitionOf }) =>
      partitionOf.some((above) => spellings(above).includes(name)),
    );
    if (meant.length + partitions.length === 0) throw refused(`the archive holds no table ${name}`);
    for (const table of [...meant, ...partitions]) chosen.add(table);
  }
  return manifest.tables.filter((table) => chosen.has(table));
}

/** The ways to write a table's name in a request. */
export function spellings({ schema, name }: Relation): string[] {
  const [quotedSchema, quotedName] = [quoteIdentifier(schema), quoteIdentifier(name)];
  return [
    displayTable({ schema, name }),
    `${quotedSchema}.${quotedName}`,
    `${quotedSchema}.${name}`,
    `${schema}.${quotedName}`,
  ];
}

/** The failure of a request that names a table, a column or a schema wrongly. */
export function refused(reason: string): Failure {
  return new Failure('DESTINATION_REFUSED', 'permanent', `This cannot be restored: ${reason}.`, {
    hint: 'Nothing was changed.',
  });
}
