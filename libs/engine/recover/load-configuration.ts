import type { ManifestConfigurationTable, OpenArchive } from '#archive';
import { Failure } from '#common';
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

/**
 * Loads the rows and sequences of extensions' configuration. CREATE EXTENSION has made these tables with their keys,
 * triggers and rows, so that all of them are loaded in one transaction, without triggers if the role may silence them.
 */
export async function loadConfiguration(workplace: Workplace, archive: OpenArchive): Promise<void> {
  const { sessions, losses, notProven, progress } = workplace;
  const { configuration } = archive.manifest;
  if (configuration === undefined) return;
  const [session] = sessions;
  const live = new Map((await listConfigurationTables(session)).map((table) => [quoteTable(table), table]));
  const tables = configuration.tables.flatMap((archived) => {
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
    await session.query('BEGIN');
    try {
      await attempt(session, () => session.query('SET LOCAL session_replication_role = replica')).catch(
        ignoreDenied,
      );
      for (const table of tables.toReversed()) await deleteConfiguration(session, table.live);
      await loadTables(workplace, archive, tables);
      await session.commit();
    } catch (error) {
      await session.query('ROLLBACK').catch(() => undefined); // The first error is the cause.
      throw error;
    }
  }
  await setAll(workplace, configuration.sequences);
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

function ignoreDenied(error: unknown): void {
  if (!(error instanceof Failure) || error.code !== 'DATABASE_PERMISSION_DENIED') throw error;
}
