import { Gauge, Registry } from 'prom-client';
import { OMISSION_KINDS, PRODUCT, reaches } from '#common';
import { DAEMON_STATES, DAEMON_TYPES, VERIFICATION_LEVELS } from '#contracts';
import type { DaemonFigures } from '#queue';
import { countBusy, type WorkerList } from '../workers/workers.js';
import type { ScheduleFigures, VerifiedFigures } from './schedule-figures.js';

/**
 * Makes the gauges of queue and database. Each scrape makes new ones, so that no gauge of a deleted schedule stays.
 * @param isQueueUp whether the queue accepts jobs
 * @param daemons undefined if the queue is down
 * @param workers undefined if the queue is down
 * @param database undefined if the database is down
 */
export function gauges(
  isQueueUp: boolean,
  daemons: DaemonFigures | undefined,
  workers: WorkerList | undefined,
  database: { schedules: ScheduleFigures[]; verified: VerifiedFigures[] } | undefined,
): Registry {
  const registry = new Registry();
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[] = []) =>
    new Gauge({ name: `snapshotd_${name}`, help, labelNames, registers: [registry] });

  gauge('queue_up', 'Whether the queue accepts jobs (1 or 0)').set(Number(isQueueUp));
  gauge('database_up', 'Whether the database answered (1 or 0)').set(Number(database !== undefined));
  if (daemons !== undefined) addDaemons(daemons, gauge);
  if (workers !== undefined) addWorkers(workers, gauge);
  if (database !== undefined) addSchedules(database.schedules, gauge);
  addVerifications(daemons, database?.verified ?? [], gauge);
  return registry;
}

type NewGauge = <Label extends string>(name: string, help: string, labelNames?: Label[]) => Gauge<Label>;

function addDaemons(
  { counts, lastCompleted, lastEnded, waiting, active, waitingSince }: DaemonFigures,
  gauge: NewGauge,
): void {
  const daemons = gauge('daemons', 'Jobs in the queue', ['type', 'status']);
  const seconds = gauge('daemon_last_duration_seconds', 'Duration of the last COMPLETED job', ['type']);
  const entities = gauge('daemon_last_entities', 'Rows of the last COMPLETED job', ['type']);
  const bytes = gauge('daemon_last_bytes', 'Length of the archive of the last COMPLETED job', ['type']);
  const failed = gauge('daemon_last_failed', 'Whether the last ended job FAILED (1 or 0)', ['type']);
  // Checks change nothing, and have a queue of their own.
  for (const type of DAEMON_TYPES.filter((one) => one !== 'CHECK')) {
    for (const status of DAEMON_STATES) daemons.set({ type, status }, counts[type][status]);
    const { [type]: completed } = lastCompleted;
    if (completed !== undefined) seconds.set({ type }, completed.totalTimeMS / 1_000);
    if (completed?.entities !== undefined) entities.set({ type }, completed.entities);
    if (completed?.bytes !== undefined) bytes.set({ type }, completed.bytes);
    const { [type]: ended } = lastEnded;
    if (ended !== undefined) failed.set({ type }, Number(ended.status === 'FAILED'));
  }
  const { BACKUP: backup } = lastCompleted;
  if (backup !== undefined) {
    const omissions = gauge('backup_omissions', 'Things that the last archive omits', ['kind']);
    for (const kind of [...OMISSION_KINDS, 'other']) omissions.set({ kind }, backup.omissions?.[kind] ?? 0);
    gauge('backup_warnings', 'Warnings of the last COMPLETED backup').set(backup.warnings ?? 0);
  }
  gauge('queue_waiting_daemons', 'Jobs that wait for a worker or for a retry').set(waiting);
  gauge('queue_active_daemons', 'Jobs that a worker runs').set(active);
  const waits = waitingSince === undefined ? 0 : age((Date.now() - waitingSince) / 1_000);
  gauge('queue_oldest_waiting_age_seconds', 'Age of the longest waiting job; 0 if none waits').set(waits);
}

function addWorkers({ workers, missing }: WorkerList, gauge: NewGauge): void {
  gauge('workers', 'Running workers').set(workers.length);
  gauge('workers_busy', 'Running workers that run a job').set(countBusy(workers));
  gauge('workers_missing', 'Workers of the last day that nobody has stopped or replaced').set(missing.length);
  const versions = gauge('workers_of_version', "Running workers by version; the API's own is always there", [
    'version',
  ]);
  versions.set({ version: PRODUCT.version }, 0);
  for (const { version } of workers) versions.inc({ version });
}

/** Of verifications by schedules and by hand. The queue knows both, and forgets old ones. */
function addVerifications(
  daemons: DaemonFigures | undefined,
  scheduled: VerifiedFigures[],
  gauge: NewGauge,
): void {
  const ages = gauge(
    'verification_last_age_seconds',
    'Time since an archive was last proven to this level or a higher one; missing if that never happened',
    ['level'],
  );
  for (const level of VERIFICATION_LEVELS) {
    const ofQueue = daemons?.lastVerified[level];
    const [newest] = [
      ...scheduled.filter((one) => reaches(one.level, level)),
      ...(ofQueue?.endedOn === undefined
        ? []
        : [{ age: (Date.now() - ofQueue.endedOn) / 1_000, seconds: (ofQueue.durationMs ?? 0) / 1_000 }]),
    ].sort((one, other) => one.age - other.age);
    if (newest === undefined) continue;
    ages.set({ level }, age(newest.age));
    // Without labels it would be 0 as soon as it is made.
    if (level === 'DRILL' && newest.seconds !== null)
      gauge('drill_duration_seconds', 'Duration of the last passed drill').set(newest.seconds);
  }
}

function addSchedules(schedules: ScheduleFigures[], gauge: NewGauge): void {
  const enabled = gauge('schedule_enabled', 'Whether the schedule is enabled (1 or 0)', ['schedule']);
  const verifies = gauge('schedule_verifies', 'Whether its runs verify their backups (1 or 0)', ['schedule']);
  const completed = gauge(
    'schedule_last_completed_age_seconds',
    'Time since its last completed backup; missing without one',
    ['schedule'],
  );
  const verified = gauge(
    'schedule_last_verified_age_seconds',
    'Time since the last verification of its backups; missing without one',
    ['schedule'],
  );
  const lostRows = gauge(
    'schedule_unconfirmed_loss_age_seconds',
    'Time since its backups lack rows and nobody has confirmed that; 0 if none do',
    ['schedule'],
  );
  for (const { schedule, ...figures } of schedules) {
    lostRows.set({ schedule }, age(figures.lostRowsAge));
    enabled.set({ schedule }, Number(figures.enabled));
    verifies.set({ schedule }, Number(figures.verifies));
    if (figures.completedAge !== null) completed.set({ schedule }, age(figures.completedAge));
    if (figures.verifiedAge !== null) verified.set({ schedule }, age(figures.verifiedAge));
  }
}

/** Clocks may differ slightly, but an age is never negative. */
function age(seconds: number): number {
  return Math.max(0, seconds);
}
