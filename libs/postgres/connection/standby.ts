import { Failure } from '#common';
import type { Session } from './session.js';

/**
 * Which relations, as `c`, hold something that can be read on this server: not temporary ones, and not unlogged ones on
 * a standby, which never gets their rows.
 * https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-CAVEATS
 */
export const READABLE_HERE = `(c.relpersistence = 'p' OR c.relpersistence = 'u' AND NOT pg_is_in_recovery())`;

/** @throws Failure SERVER_IS_STANDBY */
export async function expectPrimary(session: Session): Promise<void> {
  const [server] = await session.query<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby');
  if (server?.standby !== true) return;
  throw new Failure(
    'SERVER_IS_STANDBY',
    'permanent',
    `The server at ${session.server} is a standby: it takes backups only.`,
    {
      hint: 'Nothing was changed. Restore and verify with workers whose REPOSITORY_URL leads to the primary.',
    },
  );
}
