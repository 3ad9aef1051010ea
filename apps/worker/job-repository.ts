import type { Settings } from '#config';
import { Failure } from '#common';
import { DEFAULT_REPOSITORY } from '#contracts';
import type { Repository } from '#engine';
import type { Keys } from '#keys';
import { type DaemonJobData, type JobRepository, sealedUrlContext } from '#queue';

/** The database that a job works on, and the settings that depend on it. */
export interface Target {
  /** The repository's name. */
  name: string;
  repository: Repository;
  /** The beginning of the keys of its archives. */
  keyPrefix: string;
  backup: Settings['backup'];
  drill: Settings['drill'];
}

/**
 * The target of a job: a stored repository is in its data, and the default one in the settings.
 * @throws Failure SECRET_KEY_DIFFERS
 */
export function targetOf(
  { repository: stored }: Pick<DaemonJobData, 'repository'>,
  settings: Settings,
  keys: Keys,
): Target {
  const { repository, store, backup, drill } = settings;
  if (stored === undefined)
    return { name: DEFAULT_REPOSITORY, repository, keyPrefix: store.prefix, backup, drill };
  const { name, scope, prefix, jobs, definitions, sealedDrillUrl } = stored;
  const drillUrl =
    sealedDrillUrl === undefined ? drill.url : opened(keys, stored, 'drill url', sealedDrillUrl);
  return {
    name,
    repository: {
      ...repository,
      url: opened(keys, stored, 'url', stored.sealedUrl),
      urlName: `the URL of the repository ${name}`,
      scope,
    },
    keyPrefix: store.prefix + prefix,
    backup: {
      ...backup,
      ...(jobs !== undefined && { parallelJobs: jobs }),
      ...(definitions !== undefined && { definitions }),
    },
    drill: { ...drill, url: drillUrl },
  };
}

function opened(keys: Keys, { name }: JobRepository, what: 'url' | 'drill url', sealed: string) {
  const url = keys.open(sealedUrlContext(name, what), sealed);
  if (url !== undefined) return url;
  throw new Failure(
    'SECRET_KEY_DIFFERS',
    'permanent',
    `The ${what === 'url' ? 'URL' : 'drill URL'} of the repository ${name} was sealed with another SECRET_KEY.`,
    { hint: 'Set the repository again with its URL, or add the former key to SECRET_KEY_PREVIOUS.' },
  );
}
