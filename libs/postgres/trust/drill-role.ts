import { Failure } from '#common';
import type { Session } from '../connection/session.js';
import { powersOf } from './powers.js';

/**
 * Refuses a drill to a role whose rights reach beyond its own objects: a drill runs the archive's functions with them.
 * @throws Failure DRILL_REFUSED
 */
export async function expectHarmlessDrill(session: Session): Promise<void> {
  const { role, superuser, more } = await powersOf(session);
  if (!superuser && more.length === 0) return;
  const rights = superuser ? 'is a superuser' : `has ${more.join(', ')}`;
  throw new Failure(
    'DRILL_REFUSED',
    'permanent',
    `A drill runs the archive's functions with the rights of the role ${role}, which ${rights} on the server of the repository.`,
    {
      hint: 'Set DRILL_URL to a server that holds nothing else, or let REPOSITORY_URL name a role without these rights. DRILL_AS_SUPERUSER=true allows the drill nevertheless.',
    },
  );
}
