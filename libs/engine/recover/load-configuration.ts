import type { ManifestConfigurationTable, OpenArchive } from '#archive';
import {
  attempt,
  type ConfigurationTable,
  copyIn,
  deleteConfiguration,
  displayTable,
  listConfigurationTables,
  quoteTable,
} from '#postgres';
import { ReadAhead } from '../shared/read-ahead.js';
import { setAll } from './after-rows.js';
import type { Workplace } from './definitions.js';
import { asUnit } from './units.js';

/**
 * Loads the rows and sequences of extensions' configuration. CREATE EXTENSION has made these tables with their keys,
 * triggers and rows, so that all of them are loaded in one transaction, without triggers if the role may silence them.
 * @param isWanted chooses extensions
 */
export async function loadConfiguration(
  workplace: Workplace,
  archive: OpenArchive,
  isWanted: (extension: string) => boolean,
): Promise<void> {
  const { sessions, losses, notProven, progress } = workplace;
  const wanted = archive.manifest.configuration?.tables.filter(({ extension }) => isWanted(extension)) ?? [];
  const sequences =
    archive.manifest.configuration?.sequences.filter(({ extension }) => isWanted(extension)) ?? [];
  const [session] = sessions;
  const live = new Map((await listConfigurationTables(session)).map((table) => [quoteTable(table), table]));
  const tables = wanted.flatMap((archived) => {
    const table = live.get(quoteTable(archived));
    if (table !== undefined) return archived.rows > 0 || table.bytes > 0 ? [{ archived, live: table }] : [];
    if (archived.rows > 0) {
      if (notProven === undefined)
        losses.push(
          `rows of ${displayTable(archived)} (the extension ${archived.extension} has no such table here)`,
        );
      else notProven.addContents(archived);
    }
    return [];
  });
  if (tables.length > 0) {
    progress.say('Loading the configuration of extensions');
    await asUnit(session, async () => {
      await attempt(session, () => session.query('SET LOCAL session_replication_role = replica'));
      for (const table of tables.toReversed()) await deleteConfiguration(session, table.live);
      await loadTables(workplace, archive, tables);
    });
  }
  await setAll(workplace, sequences);
}

async function loadTables(
  { sessions }: Workplace,
  archive: OpenArchive,
  tables: { archived: ManifestConfigurationTable; live: ConfigurationTable }[],
): Promise<void> {
  const ahead = new ReadAhead(
    archive,
    tables.map(({ archived }) => archived),
  );
  try {
    for (const { archived } of tables) {
      const { schema, name } = archived;
      const columns = archived.columns.filter(({ generated }) => !generated).map((column) => column.name);
      const encoding = archived.invalidText ? 'SQL_ASCII' : archive.manifest.server.encoding;
      await copyIn(sessions[0], { schema, name, columns, freeze: false }, ahead.rowsOf(archived), encoding);
    }
  } finally {
    ahead.close().catch(() => undefined); // No wait: the store may stall.
  }
}
