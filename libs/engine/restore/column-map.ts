import type { Manifest, ManifestTable } from '#archive';
import { displayTable, listWithoutDefault, quoteIdentifier, type Session, type Table } from '#postgres';
import { refused, spellings, type TableMapping } from './table-mapping.js';

/** The differences between the columns of an archive and those of the live tables that a restore accepts. */
export interface ColumnOptions {
  /** Accept columns that the archive does not hold. They get their defaults. */
  allowExtraColumns?: boolean | undefined;
  /** Columns of the archive whose values are not restored: `schema.table.column`, each name in double quotes or not. */
  dropColumns?: string[] | undefined;
}

/** The columns of the archive's tables that a restore drops, by table. */
export type DroppedColumns = Map<ManifestTable, Set<string>>;

/**
 * Finds the columns that are named. A column of a partitioned table means that of its partitions.
 * @throws Failure DESTINATION_REFUSED for a name that means none of them, or columns of several tables
 */
export function chooseDroppedColumns(tables: ManifestTable[], { dropColumns = [] }: ColumnOptions) {
  const dropped: DroppedColumns = new Map();
  for (const name of dropColumns) {
    const meaning = tables.map((table) => ({
      table,
      own: columnMeant(table, [table], name),
      above: columnMeant(table, table.partitionOf, name),
    }));
    const own = meaning.filter((one) => one.own !== undefined);
    if (own.length > 1)
      throw refused(`${name} means columns of several tables: put double quotes around its parts`);
    const meant = meaning.filter((one) => (one.own ?? one.above) !== undefined);
    if (meant.length === 0) throw refused(`the archive holds no column ${name}`);
    for (const { table, own: itself, above } of meant)
      dropped.set(table, new Set([...(dropped.get(table) ?? []), itself ?? above ?? '']));
  }
  return dropped;
}

function columnMeant(
  { columns }: ManifestTable,
  relations: Parameters<typeof spellings>[0][],
  name: string,
): string | undefined {
  const prefixes = relations.flatMap(spellings);
  return columns.find((column) =>
    prefixes.some((table) =>
      [`${table}.${column.name}`, `${table}.${quoteIdentifier(column.name)}`].includes(name),
    ),
  )?.name;
}

/** Which columns of a target table have no values in the archive, and which of the archive go nowhere. */
export interface ColumnMap {
  /** The live table's OID. */
  relation: number;
  /** The table that the rows go to, for messages. */
  table: string;
  extra: string[];
  dropped: string[];
}

/** Maps the columns of each table whose columns differ. @param live the tables in the order of the archived ones */
export function mapColumns(
  archived: ManifestTable[],
  live: Table[],
  { mapping, dropped }: { mapping: TableMapping; dropped: DroppedColumns },
): ColumnMap[] {
  return archived.flatMap((table, index) => {
    const here = live[index];
    if (here === undefined) return [];
    const gone = dropped.get(table) ?? new Set();
    const kept = new Set(table.columns.map(({ name }) => name).filter((name) => !gone.has(name)));
    const extra = here.columns.map(({ name }) => name).filter((name) => !kept.has(name));
    if (extra.length === 0 && gone.size === 0) return [];
    return { relation: here.oid, table: displayTable(mapping(table)), extra, dropped: [...gone] };
  });
}

/** Describes the columns that differ, a sentence for each table. */
export function describeColumns(maps: ColumnMap[]): string[] {
  return maps.map(({ table, extra, dropped }) =>
    [
      ...(extra.length > 0 ? [`${table} fills ${extra.join(', ')} with defaults`] : []),
      ...(dropped.length > 0 ? [`${table} drops the archive's values of ${dropped.join(', ')}`] : []),
    ].join('; '),
  );
}

/** Names the extra columns that cannot be filled: they are NOT NULL and have no default. */
export async function columnsWithoutValue(session: Session, maps: ColumnMap[]): Promise<string[]> {
  const unfilled = await listWithoutDefault(session, maps);
  return maps.flatMap(({ relation, table, extra }) =>
    extra
      .filter((name) => unfilled.some((one) => one.relation === relation && one.name === name))
      .map(
        (name) =>
          `the archive holds no values for the column ${table}.${name}, which is NOT NULL and has no default`,
      ),
  );
}

/** The sequences of the archive without those that belong to dropped columns: these may be gone with their columns. */
export function withoutDropped(
  sequences: Manifest['sequences'],
  dropped: DroppedColumns,
): Manifest['sequences'] {
  return sequences.filter(
    ({ ownedBy }) =>
      ownedBy === undefined ||
      ![...dropped].some(
        ([table, columns]) =>
          columns.has(ownedBy.column) &&
          [table, ...table.partitionOf].some(
            ({ schema, name }) => schema === ownedBy.schema && name === ownedBy.table,
          ),
      ),
  );
}
