import type { Manifest } from '#archive';
import { type Session, setClause } from '#postgres';

/**
 * Runs work under the search_path that the database sets, for functions that find objects by unqualified names.
 * Definitions run under an empty path.
 */
export async function underDatabasePath<Result>(
  session: Session,
  { database }: Manifest,
  work: () => Promise<Result>,
): Promise<Result> {
  const setting = database?.settings.find(({ role, name }) => role === null && name === 'search_path');
  await session.query(setting === undefined ? 'SET search_path TO "$user", public' : setClause(setting));
  try {
    return await work();
  } finally {
    await session.query(`SELECT pg_catalog.set_config('search_path', '', false)`);
  }
}
