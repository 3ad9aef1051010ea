import type { Manifest, ManifestTable, ManifestType } from '#archive';
import { Failure } from '#common';
import {
  knownTypes,
  listColumnTypes,
  listTables,
  listTypes,
  type Members,
  type NewObjects,
  type NewType,
  parseName,
  quoteTable,
  type Relation,
  type Session,
} from '#postgres';
import { columnDifferences } from './matching-tables.js';
import type { TableMapping } from './table-mapping.js';
import { TypeComparison } from './type-differences.js';

/** Finds the tables that do not exist as the archive has them. Archives without details have none that can be created. */
export async function unlikeLive(
  session: Session,
  manifest: Manifest,
  archived: ManifestTable[],
  live: Members,
): Promise<ManifestTable[]> {
  const tables = await listTables(session, live);
  const types = await listColumnTypes(session, tables);
  return archived.filter((table) => {
    if (table.details === undefined) return false;
    const here = tables.find(({ schema, name }) => schema === table.schema && name === table.name);
    if (here === undefined) return true;
    const comparison = new TypeComparison(manifest.types, types, []);
    const options = { allowExtraColumns: false, dropped: new Map() };
    return columnDifferences(table, here, comparison, options).length + comparison.differences.length > 0;
  });
}

/**
 * Plans the creation of tables from the archive.
 * @throws Failure ARCHIVE_DOES_NOT_FIT if a type is missing that cannot be created
 */
export async function planNewObjects(
  session: Session,
  manifest: Manifest,
  archived: ManifestTable[],
  { mapping, intoSchemas = {} }: { mapping: TableMapping; intoSchemas?: Record<string, string> | undefined },
): Promise<NewObjects> {
  const types = new ArchivedTypes(manifest.types ?? [], new Map(Object.entries(intoSchemas)));
  await types.compare(
    session,
    archived.flatMap(({ columns }) => columns.map(({ type }) => type)),
  );
  const tables = archived.flatMap(({ schema, name, columns, details }) =>
    details === undefined
      ? []
      : {
          target: mapping({ schema, name }),
          columns: columns.map((column) => ({ ...column, type: types.take(column.type) })),
          details,
          sequences: manifest.sequences.flatMap(({ name: sequence, lastValue, isCalled, ownedBy }) =>
            ownedBy?.schema === schema && ownedBy.table === name
              ? {
                  schema: mapping({ schema, name }).schema,
                  name: sequence,
                  lastValue,
                  isCalled,
                  column: ownedBy.column,
                }
              : [],
          ),
        },
  );
  return { tables, types: types.created };
}

/** The types of an archive, which exist here or must be created. */
class ArchivedTypes {
  /** In the order in which to create them. */
  readonly created: NewType[] = [];
  private readonly archived: Map<string, ManifestType>;
  /** Types whose parts are being created: a forged archive may hold circles. */
  private readonly creating = new Set<ManifestType>();
  private known = new Set<string>();
  private live: Awaited<ReturnType<typeof listTypes>> = [];

  constructor(
    private readonly all: ManifestType[],
    private readonly into: Map<string, string>,
  ) {
    this.archived = new Map(all.map((type) => [type.type, type]));
  }

  async compare(session: Session, used: string[]): Promise<void> {
    const names = [
      ...new Set([
        ...used,
        ...this.all.flatMap(({ type, parts }) => [type, ...parts.map((part) => part.type)]),
      ]),
    ];
    this.known = await knownTypes(session, names);
    this.live = await listTypes(session, [...this.known]);
  }

  /** Returns a type as it is named here, and creates it if needed. @throws Failure ARCHIVE_DOES_NOT_FIT */
  take(type: string): string {
    const [, element = type, brackets = ''] = /^(.*?)((?:\[\])*)$/s.exec(type) ?? [];
    const archived = this.archived.get(element);
    if (archived === undefined) {
      if (!this.known.has(type)) throw missingType(type);
      return type;
    }
    if (this.known.has(element)) {
      const comparison = new TypeComparison(this.all, this.live, []);
      comparison.compare(element, element);
      if (comparison.differences.length === 0) return type;
    }
    const name = parseName(element);
    const schema = name && this.into.get(name.schema);
    if (name === undefined || schema === undefined) throw missingType(element);
    return `${this.create(archived, { schema, name: name.name })}${brackets}`;
  }

  private create(archived: ManifestType, target: Relation): string {
    const { kind, parts, labels } = archived;
    const sql = quoteTable(target);
    if (this.created.some(({ name }) => quoteTable(name) === sql)) return sql;
    const plain = parts.every(({ collation }) => collation === null);
    if (kind === 'range' || kind === 'multirange' || !plain || this.creating.has(archived))
      throw missingType(archived.type);
    this.creating.add(archived);
    const used = parts.map((part) => ({ name: part.name, type: this.take(part.type) }));
    this.created.push({ name: target, kind, parts: used, labels });
    return sql;
  }
}

function missingType(type: string): Failure {
  return new Failure(
    'ARCHIVE_DOES_NOT_FIT',
    'permanent',
    `A table of the archive has a column of the type ${type}, which is missing here or defined otherwise.`,
    {
      hint: 'Nothing was changed. Create the type first. A restore creates enums, composite types and domains only, if intoSchemas names their schema.',
    },
  );
}
