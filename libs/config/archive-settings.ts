import { Secret } from './secret.js';
import { environment, faultOf, SettingsError, storeOf } from './settings.js';

/** The settings of a program that only reads archives. */
const variables = environment.pick({
  S3_BUCKET: true,
  S3_PREFIX: true,
  S3_ENDPOINT: true,
  S3_PUBLIC_ENDPOINT: true,
  S3_FORCE_PATH_STYLE: true,
  S3_CHECKSUMS: true,
  S3_MAX_PARTS: true,
  S3_PART_BYTES: true,
  AWS_REGION: true,
  RETRY_SECONDS: true,
  SECRET_KEY: true,
  SECRET_KEY_FILE: true,
  SECRET_KEY_PREVIOUS: true,
});

/**
 * Reads the settings of the object store, and the keys that verification records are signed with, without the rest that
 * APIs and workers need. An empty variable counts as unset.
 * @param bucket in place of S3_BUCKET
 * @throws SettingsError that lists every fault
 */
export function readArchiveSettings(bucket?: string, env: NodeJS.ProcessEnv = process.env) {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  if (bucket !== undefined) set['S3_BUCKET'] = bucket;
  const { data: value, error } = variables.safeParse(set);
  if (value === undefined) throw new SettingsError(error.issues.map((issue) => faultOf(issue, set)));
  const key = value.SECRET_KEY ?? value.SECRET_KEY_FILE;
  return {
    store: storeOf(value),
    /** SECRET_KEY, then its predecessors; undefined without SECRET_KEY. */
    secretKeys:
      key === undefined ? undefined : [key, ...value.SECRET_KEY_PREVIOUS].map((one) => new Secret(one)),
  };
}
