import { addAbortListener } from 'node:events';
import { Secret } from '#config';
import { displayDatabase, Failure } from '#common';
import { databaseIdentity, Session } from '#postgres';
import type { Repository } from '../shared/repository-session.js';

/**
 * The repository's server with another database than the repository's, from which databases can be created, renamed and
 * dropped: `postgres`, or `template1` if the repository is `postgres`.
 */
export function maintenanceUrl(repository: Secret): Secret {
  const url = new URL(repository.reveal());
  url.pathname = decodeURIComponent(url.pathname) === '/postgres' ? '/template1' : '/postgres';
  return new Secret(url.href);
}

/**
 * Runs work on a session with that database, which ends at once when the signal is aborted.
 * @throws Failure REPOSITORY_ELSEWHERE on another server than the repository's; the signal's reason
 */
export async function onMaintenance<Result>(
  { url, urlName = 'REPOSITORY_URL', identity }: Pick<Repository, 'url' | 'urlName' | 'identity'>,
  { applicationName, signal }: { applicationName: string; signal: AbortSignal },
  work: (session: Session) => Promise<Result>,
): Promise<Result> {
  const session = await Session.open(maintenanceUrl(url).reveal(), { applicationName, signal });
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    const here = await databaseIdentity(session);
    const [expected, found] = [identity?.systemIdentifier, here.systemIdentifier];
    if (identity !== undefined && expected !== null && found !== null && expected !== found)
      throw new Failure(
        'REPOSITORY_ELSEWHERE',
        'permanent',
        `Another server answers at ${urlName}: that of ${displayDatabase(here)}. The repository is ${displayDatabase(identity)}.`,
        { hint: 'Correct the URL, or accept this database as the repository.' },
      );
    return await work(session);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    await session.close();
  }
}
