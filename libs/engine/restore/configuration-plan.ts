import type { Manifest, ManifestConfigurationTable } from '#archive';
import { Failure } from '#common';
import {
  type ConfigurationTable,
  configurationChunk,
  copyOut,
  displayTable,
  listConfigurationSequences,
  listConfigurationTables,
  readConfigurationSequences,
  type Relation,
  type SequenceState,
  type Session,
} from '#postgres';
import { SameRows } from './same-rows.js';

/** The parts of extensions' configuration that differ from an archive's. A restore leaves the others alone. */
export interface ConfigurationPlan {
  tables: ConfigurationChange[];
  sequences: SequenceState[];
}

export interface ConfigurationChange {
  archived: ManifestConfigurationTable;
  live: ConfigurationTable;
}

/**
 * Compares the configuration of the database's extensions with an archive's, and checks that its rows fit.
 * @throws Failure ARCHIVE_DOES_NOT_FIT, DATABASE_PERMISSION_DENIED
 */
export async function planConfiguration(
  session: Session,
  { configuration, server }: Manifest,
): Promise<ConfigurationPlan> {
  if (configuration === undefined) return { tables: [], sequences: [] };
  const differences: string[] = [];
  const named = byName(await listConfigurationTables(session));
  const tables: ConfigurationChange[] = [];
  for (const archived of configuration.tables) {
    const live = named.get(key(archived));
    if (live === undefined) {
      if (archived.rows > 0) differences.push(missing(archived));
    } else if (!(await hasSameRows(session, archived, live, server.encoding))) {
      differences.push(...differencesOf(archived, live));
      tables.push({ archived, live });
    }
  }
  const { sequences } = await readConfigurationSequences(session, { ask: (work) => work(session) });
  const states = byName(sequences);
  const changed = configuration.sequences.filter((archived) => {
    const state = states.get(key(archived));
    return state?.lastValue !== archived.lastValue || state.isCalled !== archived.isCalled;
  });
  if (changed.length > 0) differences.push(...(await missingSequences(session, changed)));
  if (differences.length > 0)
    throw new Failure(
      'ARCHIVE_DOES_NOT_FIT',
      'permanent',
      `The configuration of extensions in the archive does not fit the database: ${differences.join('; ')}.`,
      {
        hint: 'Nothing was changed. Install the versions of the extensions that the archive comes from, or restore the tables by name ("tables"), without the configuration of extensions.',
      },
    );
  expectChangeable(tables);
  return { tables, sequences: changed };
}

/** Whether the rows are equal, byte for byte. Those that cannot be read count as different, unless there are none. */
async function hasSameRows(
  session: Session,
  archived: ManifestConfigurationTable,
  live: ConfigurationTable,
  encoding: string,
): Promise<boolean> {
  if (archived.rows === 0 && live.bytes === 0) return true;
  if (live.obstacle !== undefined || live.condition !== archived.condition) return false;
  const rows = new SameRows(archived.entries);
  await copyOut(session, [configurationChunk(live)], encoding, [rows]);
  return rows.areSame;
}

function differencesOf(archived: ManifestConfigurationTable, live: ConfigurationTable): string[] {
  const table = displayTable(live);
  const spelled = ({ columns }: Pick<ManifestConfigurationTable, 'columns'>) =>
    columns.map(({ name, type, generated }) => `${name} ${type}${generated ? ' generated' : ''}`).join(', ');
  return [
    ...(live.condition === archived.condition
      ? []
      : [`the condition of ${table} is "${live.condition}" here and "${archived.condition}" in the archive`]),
    ...(spelled(live) === spelled(archived)
      ? []
      : [`the columns of ${table} are (${spelled(live)}) here and (${spelled(archived)}) in the archive`]),
  ];
}

async function missingSequences(
  session: Session,
  sequences: (Relation & { extension: string })[],
): Promise<string[]> {
  const existing = byName(await listConfigurationSequences(session));
  return sequences.filter((sequence) => !existing.has(key(sequence))).map(missing);
}

/** @throws Failure DATABASE_PERMISSION_DENIED naming all tables */
function expectChangeable(changes: ConfigurationChange[]): void {
  const closed = changes.filter(({ live }) => live.closed !== undefined);
  if (closed.length === 0) return;
  throw new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The role may not replace the rows of ${closed.map(({ live }) => displayTable(live)).join(', ')}, which are configuration of extensions and differ from the archive's.`,
    { hint: `Nothing was changed. ${closed.map(({ live }) => live.closed).join(' ')}` },
  );
}

function missing(relation: Relation & { extension: string }): string {
  return `${displayTable(relation)} of the extension ${relation.extension} is missing here`;
}

function byName<Named extends Relation>(relations: Named[]): Map<string, Named> {
  return new Map(relations.map((relation) => [key(relation), relation]));
}

function key({ schema, name }: Relation): string {
  return JSON.stringify([schema, name]);
}
