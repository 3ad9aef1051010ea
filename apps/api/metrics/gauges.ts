import { Gauge, Registry } from 'prom-client';
import { DAEMON_STATES, DAEMON_TYPES } from '#contracts';
import type { DaemonFigures } from '#queue';
import type { ScheduleFigures } from './schedule-figures.js';

/**
 * What queue and database say, as gauges. They are made anew at each scrape, so that nothing stays of what is gone.
 * @param isQueueUp whether a daemon could be started
 * @param daemons undefined when the queue is away
 * @param schedules undefined when the database is away
 */
export function gauges(
  isQueueUp: boolean,
  daemons: DaemonFigures | undefined,
  schedules: ScheduleFigures[] | undefined,
): Registry {
  const registry = new Registry();
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[] = []) =>
    new Gauge({ name: `snapshotd_${name}`, help, labelNames, registers: [registry] });

  gauge('queue_up', 'Whether the queue takes daemons (1 or 0)').set(Number(isQueueUp));
  gauge('database_up', 'Whether the database answered (1 or 0)').set(Number(schedules !== undefined));
  if (daemons !== undefined) addDaemons(daemons, gauge);
  if (schedules !== undefined) addSchedules(schedules, gauge);
  return registry;
}

type NewGauge = <Label extends string>(name: string, help: string, labelNames?: Label[]) => Gauge<Label>;

function addDaemons(
  { counts, lastCompleted, lastEnded, waiting, active, waitingSince }: DaemonFigures,
  gauge: NewGauge,
): void {
  const daemons = gauge('daemons', 'Daemons that the queue remembers', ['type', 'status']);
  const seconds = gauge(
    'daemon_last_duration_seconds',
    'From the start to the end of the last COMPLETED one',
    ['type'],
  );
  const entities = gauge('daemon_last_entities', 'Rows of the last COMPLETED one', ['type']);
  const bytes = gauge('daemon_last_bytes', 'Length of the archive of the last COMPLETED one', ['type']);
  const failed = gauge('daemon_last_failed', 'Whether the last one that has ended FAILED (1 or 0)', ['type']);
  for (const type of DAEMON_TYPES) {
    for (const status of DAEMON_STATES) daemons.set({ type, status }, counts[type][status]);
    const { [type]: completed } = lastCompleted;
    if (completed !== undefined) seconds.set({ type }, completed.totalTimeMS / 1_000);
    if (completed?.entities !== undefined) entities.set({ type }, completed.entities);
    if (completed?.bytes !== undefined) bytes.set({ type }, completed.bytes);
    const { [type]: ended } = lastEnded;
    if (ended !== undefined) failed.set({ type }, Number(ended.status === 'FAILED'));
  }
  gauge('queue_waiting_daemons', 'Daemons that wait for a worker, or to be tried again').set(waiting);
  gauge('queue_active_daemons', 'Daemons that a worker has').set(active);
  const waits = waitingSince === undefined ? 0 : age((Date.now() - waitingSince) / 1_000);
  gauge('queue_oldest_waiting_age_seconds', 'Since the one was started that waits longest; 0 if none').set(
    waits,
  );
}

function addSchedules(schedules: ScheduleFigures[], gauge: NewGauge): void {
  const enabled = gauge('schedule_enabled', 'Whether the schedule runs (1 or 0)', ['schedule']);
  const verifies = gauge('schedule_verifies', 'Whether its runs verify their backups (1 or 0)', ['schedule']);
  const completed = gauge(
    'schedule_last_completed_age_seconds',
    'Since its last backup completed; missing when none did',
    ['schedule'],
  );
  const verified = gauge(
    'schedule_last_verified_age_seconds',
    'Since a backup of it was last verified; missing when none was',
    ['schedule'],
  );
  for (const { schedule, ...figures } of schedules) {
    enabled.set({ schedule }, Number(figures.enabled));
    verifies.set({ schedule }, Number(figures.verifies));
    if (figures.completedAge !== null) completed.set({ schedule }, age(figures.completedAge));
    if (figures.verifiedAge !== null) verified.set({ schedule }, age(figures.verifiedAge));
  }
}

/** The clocks that said when something ended may be a little ahead. */
function age(seconds: number): number {
  return Math.max(0, seconds);
}
