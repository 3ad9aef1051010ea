import { type DaemonStatus, progressTotal } from '#contracts';
import type { DaemonJob } from './daemon-job.js';

/** How a job looks to a client. Reads the job as it was fetched, so that all fields are of one moment. */
export function daemonStatus(job: DaemonJob): DaemonStatus {
  const { startedBy, startedOn } = job.data;
  const progress = typeof job.progress === 'object' ? job.progress : undefined;
  const status: DaemonStatus = {
    id: job.id ?? '',
    type: job.name,
    status: progress === undefined ? 'STARTED' : 'IN_PROGRESS',
    errorMessage: null,
    progresssMessage: progress?.message ?? 'Starting...',
    progresssCurrent: progress?.current ?? 0,
    progresssTotal: progress?.total ?? 0,
    errorDetails: null,
    backupUrl: null,
    totalTimeMS: progress === undefined ? 0 : Math.max(0, Date.now() - startedOn),
    startedBy,
    startedOn,
  };
  if (job.finishedOn === undefined) return status;
  status.totalTimeMS = Math.max(0, job.finishedOn - startedOn);
  // BullMQ keeps the reason of an earlier attempt's failure; the result is what only a completed job has.
  if (job.returnvalue === null || job.returnvalue === undefined) {
    status.status = 'FAILED';
    status.errorMessage = job.failedReason;
    status.errorDetails = job.stacktrace?.at(-1) ?? null;
  } else {
    const total = progressTotal(job.returnvalue.entities);
    Object.assign(status, {
      status: 'COMPLETED',
      progresssMessage: `Finished: ${job.name}`,
      progresssCurrent: total,
      progresssTotal: total,
      backupUrl: job.returnvalue.backupUrl,
    } satisfies Partial<DaemonStatus>);
  }
  return status;
}
