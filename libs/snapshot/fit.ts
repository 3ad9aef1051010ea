import type { Manifest } from '#archive';
import { Failure } from '#contracts';
import {
  checkEventTriggers,
  checkOwnership,
  listMaterializedViews,
  listObstacles,
  type MaterializedView,
  type Obstacle,
  type Session,
  type Table,
} from '#postgres';
import { matchingTables } from './definitions.js';

export interface Fit {
  /** The live tables that the archive holds rows for. */
  tables: Table[];
  obstacles: Obstacle[];
  views: MaterializedView[];
}

/**
 * All that a restore demands of the repository before it changes anything, and that a verification checks.
 * @throws Failure ARCHIVE_DOES_NOT_FIT, OWNERSHIP_MISSING, EVENT_TRIGGER
 */
export async function checkFit(
  session: Session,
  manifest: Manifest,
  { schemas, allowExtraTables }: { schemas: string[]; allowExtraTables: boolean },
): Promise<Fit> {
  checkSchemas(manifest, schemas);
  const tables = await matchingTables(session, manifest, { allowExtraTables });
  const obstacles = await listObstacles(session, tables);
  const views = await listMaterializedViews(session, manifest.schemas, tables);
  await checkOwnership(session, [...tables, ...manifest.sequences, ...views], obstacles);
  await checkEventTriggers(session, [
    ...obstacles.flatMap(({ remove, putBack }) => [remove, ...putBack]),
    ...manifest.sequences.map(() => 'ALTER SEQUENCE'),
    ...views.map(() => 'REFRESH MATERIALIZED VIEW'),
  ]);
  return { tables, obstacles, views };
}

/** The archive must be of this repository: its schemas are those that the settings name, or some of them. */
function checkSchemas(manifest: Manifest, schemas: string[]): void {
  const strangers = manifest.schemas.filter((schema) => !schemas.includes(schema));
  if (strangers.length > 0)
    throw new Failure(
      'ARCHIVE_DOES_NOT_FIT',
      'permanent',
      `The archive holds the schemas ${strangers.join(', ')}, which are not in REPOSITORY_SCHEMAS (${schemas.join(', ')}).`,
      { hint: 'Nothing was changed. Choose an archive of this repository.' },
    );
}
