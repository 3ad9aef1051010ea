import { DataSource } from 'typeorm';
import { pollUntil } from '#common';
import { Secret } from '#config';
import { databaseOptions } from '#database';
import { countEntities, fillRepository } from './fill-repository.js';

/** The API creates the tables when it starts. */
const TABLES_WITHIN_MS = 60_000;

/** Whether the repository has rows, and since when. */
export type ExampleData = 'none' | 'added' | 'there';

/** Adds example data to an empty default repository, if it is wanted. */
export async function addExampleData(url: string, isWanted: boolean): Promise<ExampleData> {
  const database = await new DataSource(databaseOptions(new Secret(url))).initialize();
  try {
    const areThere = async () => {
      const [found] = await database.query<{ there: boolean }[]>(
        `SELECT to_regclass('repository.access_grant') IS NOT NULL AS there`,
      );
      return found?.there === true ? true : undefined;
    };
    if ((await pollUntil(areThere, { everyMs: 100, timeoutMs: TABLES_WITHIN_MS })) === undefined)
      throw new Error('The API has not created its tables within a minute. Its log is in .data/.');
    if ((await countEntities(database)) > 0) return 'there';
    if (!isWanted) return 'none';
    await fillRepository(database);
    return 'added';
  } finally {
    await database.destroy();
  }
}
