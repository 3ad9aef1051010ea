import type { Job } from 'bullmq';
import { z } from 'zod';
import { Failure } from '#common';
import { DAEMON_TYPES, type DaemonStatus } from '#contracts';
import type { Keys } from '#keys';
import {
  type DaemonJob,
  daemonJobData,
  type DaemonJobData,
  daemonJobProgress,
  type DaemonJobProgress,
  daemonJobResult,
  type DaemonJobResult,
  type DaemonResult,
} from './daemon-job.js';

const NOT_AUTHENTIC =
  'This job is not authentic: an older version of snapshotd, or somebody without SECRET_KEY, wrote it into the queue.';
const START_AGAIN = 'Start it again if you need it.';
const RESULT_NOT_AUTHENTIC =
  'The result of this job is not authentic: somebody without SECRET_KEY wrote it into the queue. Start it again.';
const REASON_MISSING = 'The queue does not hold the reason for this failure.';

type Identity = Pick<Job, 'id' | 'name'>;

/** The fields that a status shows of a job that is not authentic. */
const claimsOfJob = daemonJobData
  .pick({ startedBy: true, startedOn: true })
  .strip()
  .extend({ archive: z.object({ url: z.string() }).optional() });

/** Signs the data of a job, as only an API does. The code covers all of the data, the id and the type. */
export function signedData(keys: Keys, { id, name }: Identity, data: DaemonJobData): DaemonJobData {
  return { ...data, code: keys.sign('job', { id, type: name, data: { ...data, code: undefined } }) };
}

/** Signs progress, as only a worker does, for this job alone. */
export function signedProgress(
  keys: Keys,
  job: DaemonJob,
  progress: Omit<DaemonJobProgress, 'code'>,
): DaemonJobProgress {
  return { ...progress, code: keys.sign('job progress', { ...ownerOf(job), value: progress }) };
}

/** Signs a result, as only a worker does, for this job alone. */
export function signedResult(keys: Keys, job: DaemonJob, result: DaemonResult): DaemonJobResult {
  const ended = { ...result, endedOn: Date.now() };
  return { ...ended, code: keys.sign('job result', { ...ownerOf(job), value: ended }) };
}

/**
 * Checks a job from the queue. Removes progress and a result that no worker has signed, and those of data that no API has
 * signed, because no worker starts with such data.
 * @returns undefined unless an API has signed the data, or may be about to sign it
 */
export function checkedJob(keys: Keys, found: Job): DaemonJob | undefined {
  if (!isType(found.name) || !daemonJobData.safeParse(found.data).success) return undefined;
  const job = found as DaemonJob;
  const { code, ...data } = job.data;
  const authentic = keys.verify('job', { id: job.id, type: job.name, data }, code);
  if (!authentic && data.unconfirmed !== true) return undefined;
  if (!authentic || !isSigned(keys, 'job progress', daemonJobProgress, job, found.progress))
    found.progress = 0;
  const claimed: unknown = found.returnvalue;
  if (authentic && isSigned(keys, 'job result', daemonJobResult, job, claimed))
    found.finishedOn &&= claimed.endedOn;
  else {
    found.returnvalue = null;
    if (claimed !== null && claimed !== undefined) found.failedReason = RESULT_NOT_AUTHENTIC;
    else if (found.finishedOn !== undefined) found.failedReason ??= REASON_MISSING;
  }
  return job;
}

/** Whether an API has signed the data of a checked job. */
export function isConfirmed({ data }: DaemonJob): boolean {
  return data.unconfirmed !== true;
}

/** The status of a job that is not authentic. @returns undefined unless it has the shape of a job */
export function foreignStatus({ id = '', name, data }: Job): DaemonStatus | undefined {
  const claims = claimsOfJob.safeParse(data).data;
  if (!isType(name) || claims === undefined) return undefined;
  return {
    id,
    type: name,
    status: 'FAILED',
    errorMessage: `${NOT_AUTHENTIC} ${START_AGAIN}`,
    progresssMessage: 'Not authentic',
    progresssCurrent: 0,
    progresssTotal: 0,
    errorDetails: null,
    backupUrl: claims.archive?.url ?? null,
    totalTimeMS: 0,
    startedBy: claims.startedBy,
    startedOn: claims.startedOn,
  };
}

/** The failure of a job that a worker refuses. */
export function notAuthentic(): Failure {
  return new Failure('NOT_AUTHENTIC', 'permanent', `${NOT_AUTHENTIC} Nothing was done.`, {
    hint: START_AGAIN,
  });
}

/** Identifies a job, also among those of a queue that has lost its data since. */
function ownerOf({ id, data: { nonce } }: DaemonJob): object {
  return { id, nonce };
}

function isSigned<Signed extends { code: string }>(
  keys: Keys,
  purpose: 'job progress' | 'job result',
  schema: z.ZodType<Signed>,
  job: DaemonJob,
  value: unknown,
): value is Signed {
  if (!schema.safeParse(value).success) return false;
  const { code, ...facts } = value as Signed;
  return keys.verify(purpose, { ...ownerOf(job), value: facts }, code);
}

function isType(name: string): name is DaemonJob['name'] {
  return (DAEMON_TYPES as readonly string[]).includes(name);
}
