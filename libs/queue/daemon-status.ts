import { type FullText, nameOmissions, progressTotal } from '#common';
import type { DaemonStatus } from '#contracts';
import type { DaemonJob } from './daemon-job.js';
import { terminationMessage } from './job-failure.js';

/** The property for the full text of a failure. JSON never shows properties that have a symbol for a name. */
const FULL_TEXT = Symbol('full text');

/** The status for readers who may see rows: a failure's full text may hold their values. */
export function withFullText(status: DaemonStatus): DaemonStatus {
  const { [FULL_TEXT]: text } = status as DaemonStatus & { [FULL_TEXT]?: FullText };
  return text === undefined ? status : { ...status, errorMessage: text.message, errorDetails: text.details };
}

/** The status of a fetched job. All its fields are of one moment. */
export function daemonStatus(job: DaemonJob): DaemonStatus {
  const { startedBy, startedOn, repository, archive, terminatedOn, neverRuns = false } = job.data;
  const progress = typeof job.progress === 'object' ? job.progress : undefined;
  // Terminated before it began. The status is the same whether or not a worker has taken the job since.
  const endedWaiting =
    terminatedOn !== undefined && progress === undefined && (neverRuns || job.finishedOn !== undefined);
  const completed = job.finishedOn !== undefined && job.returnvalue !== null && job.returnvalue !== undefined;
  const failed = neverRuns || (job.finishedOn !== undefined && !completed);
  const until = endedWaiting || neverRuns ? terminatedOn : job.finishedOn;
  const status: DaemonStatus = {
    id: job.id ?? '',
    type: job.name,
    status: completed ? 'COMPLETED' : failed ? 'FAILED' : progress === undefined ? 'STARTED' : 'IN_PROGRESS',
    errorMessage: !failed
      ? null
      : endedWaiting || neverRuns
        ? terminationMessage(job.name)
        : job.failedReason,
    progresssMessage: progress?.message ?? 'Starting...',
    progresssCurrent: progress?.current ?? 0,
    progresssTotal: progress?.total ?? 0,
    errorDetails: failed && !endedWaiting && !neverRuns ? (job.stacktrace?.at(-1) ?? null) : null,
    backupUrl: archive?.url ?? null,
    totalTimeMS:
      until === undefined && progress === undefined ? 0 : Math.max(0, (until ?? Date.now()) - startedOn),
    startedBy,
    startedOn,
  };
  if (completed) {
    const total = progressTotal(job.returnvalue.entities);
    const {
      omissions = [],
      leftOut = [],
      warnings = [],
      shrunk,
      columns = [],
      verification,
    } = job.returnvalue;
    const omitted = job.name === 'BACKUP' ? 'omitted' : 'the archive omits';
    const notes = [
      ...checkOf(job.returnvalue),
      ...partOf(job.data),
      ...swapOf(job),
      ...(columns.length > 0 ? [`columns: ${named(columns)}`] : []),
      ...(omissions.length > 0 ? [`${omitted}: ${nameOmissions(omissions)}`] : []),
      ...(leftOut.length > 0 ? [`omitted: ${named(leftOut)}`] : []),
      ...warnings.map((warning) => `warning: ${warning}`),
    ];
    status.progresssMessage = `Finished: ${job.name}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`;
    status.progresssCurrent = total;
    status.progresssTotal = total;
    status.backupUrl = job.returnvalue.backupUrl;
    if (omissions.length > 0) status.omissions = omissions;
    if (shrunk !== undefined) status.shrunk = shrunk;
    if (verification !== undefined) status.verification = verification;
    if (warnings.length > 0) status.warnings = warnings;
    const { database, keptDatabase, check, restorePlan } = job.returnvalue;
    if (check !== undefined) status.check = check;
    if (restorePlan !== undefined) status.restorePlan = restorePlan;
    if (database !== undefined) status.database = database;
    if (keptDatabase !== undefined) status.keptDatabase = keptDatabase;
  }
  if (repository !== undefined) status.repository = repository.name;
  const failure = progress?.failure;
  if (failed && failure !== undefined && failure.reason === status.errorMessage)
    Object.assign(status, { [FULL_TEXT]: failure });
  if (archive?.backupFirst === true)
    status.safetyBackupUrl =
      (completed ? job.returnvalue.safetyBackupUrl : undefined) ?? progress?.safetyBackupUrl ?? null;
  return status;
}

/** Notes on a job that concerns other things than the repository's rows, so that nobody takes it for a restore of everything. */
function partOf({ archive, database }: DaemonJob['data']): string[] {
  const { tables, intoSchemas = {}, intoDatabase } = archive ?? {};
  return [
    ...(tables !== undefined ? [`only ${named(tables)}`] : []),
    ...Object.entries(intoSchemas).map(([schema, other]) => `${schema} into ${other}`),
    ...(intoDatabase !== undefined ? [`into the new database ${intoDatabase}`] : []),
    ...(database !== undefined ? [`the database ${database}`] : []),
  ];
}

/** The outcome of a check in a few words. */
function checkOf({ check, restorePlan }: DaemonJob['returnvalue']): string[] {
  if (restorePlan !== undefined)
    return [restorePlan.refusals.length === 0 ? 'accepted' : 'a restore would be refused'];
  if (check === undefined) return [];
  const count = (level: string) => check.findings.filter((one) => one.level === level).length;
  return [`problems: ${count('problem')}, warnings: ${count('warning')}`];
}

/** Says after a swap where the rows are that the new database does not have. */
function swapOf({ returnvalue }: DaemonJob): string[] {
  const { database, keptDatabase, takenOn } = returnvalue;
  if (keptDatabase === undefined) return [];
  const since = takenOn === undefined ? 'the backup' : new Date(takenOn).toISOString();
  return [
    `which is ${database} now; rows written since ${since} are not in it, but in the old database, kept as ${keptDatabase}`,
  ];
}

const NAMED = 10;

function named(things: string[]): string {
  const more = things.length > NAMED ? ` and ${things.length - NAMED} more` : '';
  return things.slice(0, NAMED).join(', ') + more;
}
