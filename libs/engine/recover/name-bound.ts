import { errorSentence } from '#common';
import { Session } from '#postgres';
import { type BuildRequest, urlOf } from './build-request.js';
import { runAfterRows } from './definitions.js';
import { loadConfiguration } from './load-configuration.js';
import type { RowProgress } from '../shared/row-progress.js';
import type { ScriptStatement } from './script.js';

/**
 * Extensions that only the database may have which a setting of the server names, with their schemas: no database has
 * them before it has its name.
 */
const NAME_BOUND = new Map([['pg_cron', 'cron']]);

export function isNameBound(extension: string): boolean {
  return NAME_BOUND.has(extension);
}

/** Whether a statement creates such an extension, or concerns one that is among the statements. */
export function nameBoundIn(statements: ScriptStatement[]): (statement: ScriptStatement) => boolean {
  const extensions = statements.filter(
    ({ kind, name, sql }) => kind === 'EXTENSION' && sql.startsWith('CREATE ') && isNameBound(name),
  );
  const objects = new Set(extensions.map(({ object }) => object));
  const schemas = new Set(extensions.flatMap(({ name }) => NAME_BOUND.get(name) ?? []));
  return ({ object, schema, kind, name }) =>
    objects.has(object) ||
    (schema !== null && schemas.has(schema)) ||
    (kind === 'ACL' && [...schemas].some((one) => name === `SCHEMA ${one}`)) ||
    (kind === 'COMMENT' && extensions.some((one) => name === `EXTENSION ${one.name}`));
}

/**
 * Creates these extensions in the complete database, and loads their rows.
 * @returns those that could not be created, for people
 */
export async function createNameBound(
  { archive, maintenanceUrl, applicationName, signal }: BuildRequest,
  database: string,
  statements: ScriptStatement[],
  progress: RowProgress,
): Promise<string[]> {
  if (statements.length === 0) return [];
  const losses: string[] = [];
  try {
    const url = urlOf(maintenanceUrl, database);
    const session = await Session.open(url, { applicationName: `${applicationName} extensions`, signal });
    try {
      const workplace = { sessions: [session] as [Session], losses, progress, signal };
      await runAfterRows(workplace, statements, () => loadConfiguration(workplace, archive, isNameBound));
    } finally {
      await session.close();
    }
  } catch (error) {
    losses.push(`${[...NAME_BOUND.keys()].join(', ')} with its rows (${errorSentence(error)})`);
  }
  return losses;
}
