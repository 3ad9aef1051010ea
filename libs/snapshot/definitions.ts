import type { Manifest } from '#archive';
import { Failure } from '#contracts';
import { displayTable, listSequences, listTables, type Session, type Table } from '#postgres';

/** So many differences are told one by one. */
const TOLD = 10;

/**
 * Holds the live tables' definitions against those that the archive's rows came from.
 * @returns the live tables that the archive holds rows for, in the archive's order
 * @throws Failure ARCHIVE_DOES_NOT_FIT naming what differs
 */
export async function matchingTables(
  session: Session,
  manifest: Manifest,
  { allowExtraTables }: { allowExtraTables: boolean },
): Promise<Table[]> {
  const live = await listTables(session, manifest.schemas, { toRead: false });
  const sequences = await listSequences(session, manifest.schemas);
  const differences: string[] = [];
  const matching: Table[] = [];
  const named = (relations: { schema: string; name: string }[]) =>
    new Map(relations.map((one) => [displayKey(one), one]));

  const liveByName = new Map(live.map((table) => [displayKey(table), table]));
  for (const archived of manifest.tables) {
    const table = liveByName.get(displayKey(archived));
    if (table === undefined) differences.push(`the table ${displayTable(archived)} is missing here`);
    else {
      matching.push(table);
      differences.push(...columnDifferences(archived, table));
    }
  }
  const liveSequences = named(sequences);
  for (const sequence of manifest.sequences)
    if (!liveSequences.has(displayKey(sequence)))
      differences.push(`the sequence ${displayTable(sequence)} is missing here`);
  if (!allowExtraTables) {
    const archivedTables = named(manifest.tables);
    for (const table of live)
      if (!archivedTables.has(displayKey(table)))
        differences.push(
          `the archive holds no table ${displayTable(table)} (allowExtraTables leaves it alone)`,
        );
  }
  const [encoding] = await session.query<{ name: string }>(
    "SELECT current_setting('server_encoding') AS name",
  );
  if (encoding?.name !== manifest.server.encoding)
    differences.push(
      `the database's encoding is ${encoding?.name ?? 'unknown'} here and ${manifest.server.encoding} in the archive`,
    );

  if (differences.length === 0) return matching;
  const more = differences.length > TOLD ? `; and ${differences.length - TOLD} more` : '';
  throw new Failure(
    'ARCHIVE_DOES_NOT_FIT',
    'permanent',
    `The archive does not fit the repository: ${differences.slice(0, TOLD).join('; ')}${more}.`,
    { hint: 'Nothing was changed. Bring the definitions to the state that the archive was made with.' },
  );
}

type Columns = Pick<Table, 'columns'>;

/** The order of columns does not matter: rows are loaded by name. */
function columnDifferences(archived: Columns & { schema: string; name: string }, live: Columns): string[] {
  const table = displayTable(archived);
  const differences: string[] = [];
  const liveByName = new Map(live.columns.map((column) => [column.name, column]));
  for (const column of archived.columns) {
    const here = liveByName.get(column.name);
    if (here === undefined) differences.push(`the column ${table}.${column.name} is missing here`);
    else if (here.type !== column.type)
      differences.push(
        `the column ${table}.${column.name} is ${here.type} here and ${column.type} in the archive`,
      );
    else if (here.generated !== column.generated)
      differences.push(
        `the column ${table}.${column.name} is generated ${here.generated ? 'here' : 'in the archive'} only`,
      );
  }
  const archivedNames = new Set(archived.columns.map(({ name }) => name));
  for (const { name } of live.columns)
    if (!archivedNames.has(name)) differences.push(`the archive holds no column ${table}.${name}`);
  return differences;
}

/** Unlike the name that people read, this is different for different tables whatever they are called. */
function displayKey({ schema, name }: { schema: string; name: string }): string {
  return JSON.stringify([schema, name]);
}
