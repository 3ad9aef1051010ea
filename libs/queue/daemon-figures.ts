import { reaches } from '#common';
import {
  DAEMON_STATES,
  DAEMON_TYPES,
  type DaemonState,
  type DaemonType,
  VERIFICATION_LEVELS,
  type VerificationLevel,
} from '#contracts';
import type { DaemonJobResult } from './daemon-job.js';
import type { DaemonReader } from './daemon-reader.js';
import { daemonStatus } from './daemon-status.js';
import { daemonIds, inBatches } from './job-batches.js';
import { answered } from './queue-unavailable.js';

/** The jobs that are read of each outcome, and of those that wait or run. The history keeps as many by default. */
const MOST = 1_000;

/** A job in numbers. */
interface DaemonFacts {
  type: DaemonType;
  status: DaemonState;
  /** Milliseconds since 1970. */
  startedOn: number;
  /** Missing until the job has ended. */
  endedOn?: number;
  /** Until now, or until the end. */
  totalTimeMS: number;
  /** Of a completed job. */
  entities?: number;
  /** The archive's length, of a completed job. Missing if it is not known. */
  bytes?: number | undefined;
  /** The number of omitted things by kind, and of warnings, of a completed job. */
  omissions?: Record<string, number>;
  warnings?: number;
  /** Of a completed verification. */
  level?: VerificationLevel | undefined;
  durationMs?: number | null | undefined;
}

/** The queue in numbers, for monitoring. */
export interface DaemonFigures {
  /** Of the newest 1000 of each outcome, and of those that wait or run. */
  counts: Record<DaemonType, Record<DaemonState, number>>;
  /** The last job of each type to complete. */
  lastCompleted: Partial<Record<DaemonType, DaemonFacts>>;
  /** The last completed verification that proved each level. */
  lastVerified: Partial<Record<VerificationLevel, DaemonFacts>>;
  /** The last job of each type to end, with any outcome. */
  lastEnded: Partial<Record<DaemonType, DaemonFacts>>;
  /** Jobs that no worker has, including those that will be retried. */
  waiting: number;
  active: number;
  /** When the job that waits longest was requested: milliseconds since 1970. */
  waitingSince?: number;
}

/**
 * Reads the figures from the queue. Ended jobs are final and are fetched once, so a reading costs only the changes since
 * the last one.
 */
export class DaemonFiguresReader {
  private ended = new Map<string, DaemonFacts>();

  constructor(private readonly daemons: DaemonReader) {}

  /** @throws QueueUnavailable */
  async read(): Promise<DaemonFigures> {
    const { queue } = this.daemons;
    await this.forgetAnotherQueue();
    const {
      waiting = 0,
      delayed = 0,
      active = 0,
    } = await answered(queue.getJobCounts('waiting', 'delayed', 'active'));
    // Oldest first, and in the order in which jobs change their states, so that none is missed.
    const waitingIds = daemonIds(await answered(queue.getRanges(['waiting', 'delayed'], 0, MOST - 1, true)));
    const activeIds = daemonIds(await answered(queue.getRanges(['active'], 0, MOST - 1, true)));
    const endedIds = daemonIds(await answered(queue.getRanges(['completed', 'failed'], 0, MOST - 1)));
    const facts = await this.factsOf([...new Set([...waitingIds, ...activeIds, ...endedIds])]);
    this.ended = new Map([...facts].filter(([, { endedOn }]) => endedOn !== undefined));

    const starts = waitingIds.map((id) => facts.get(id)).filter((daemon) => daemon?.status !== 'FAILED');
    const waitingSince = Math.min(...starts.map((daemon) => daemon?.startedOn ?? Infinity));
    const completed = [...facts.values()].filter(({ status }) => status === 'COMPLETED');
    return {
      counts: count([...facts.values()]),
      lastCompleted: lastOf(completed),
      lastVerified: Object.fromEntries(
        VERIFICATION_LEVELS.flatMap((level) => {
          const { VERIFY: last } = lastOf(completed.filter((one) => reaches(one.level, level)));
          return last === undefined ? [] : [[level, last]];
        }),
      ),
      lastEnded: lastOf([...this.ended.values()]),
      waiting: waiting + delayed,
      active,
      ...(waitingSince !== Infinity && { waitingSince }),
    };
  }

  /** Discards fetched jobs if the queue has lost its data: it then counts ids from 1 again. */
  private async forgetAnotherQueue(): Promise<void> {
    const newest = Math.max(...[...this.ended.keys()].map(Number));
    const known = this.ended.get(String(newest));
    if (known === undefined) return;
    const job = await this.daemons.find(String(newest));
    if (job?.data.startedOn !== known.startedOn) this.ended.clear();
  }

  private async factsOf(ids: string[]): Promise<Map<string, DaemonFacts>> {
    const facts = new Map<string, DaemonFacts>();
    const read = async (id: string) => {
      const daemon = this.ended.get(id) ?? (await this.fetch(id));
      return daemon && ([id, daemon] as const);
    };
    for await (const [id, daemon] of inBatches(ids, read)) facts.set(id, daemon);
    return facts;
  }

  private async fetch(id: string): Promise<DaemonFacts | undefined> {
    const job = await this.daemons.find(id);
    if (job === undefined) return undefined;
    const { finishedOn } = job;
    const { type, status, startedOn, totalTimeMS } =
      finishedOn === undefined ? await this.daemons.statusOf(job) : daemonStatus(job);
    return {
      type,
      status,
      startedOn,
      totalTimeMS,
      ...(finishedOn !== undefined && { endedOn: finishedOn }),
      ...(status === 'COMPLETED' && figuresOf(job.returnvalue)),
    };
  }
}

function figuresOf({ entities, bytes, omissions = [], warnings = [], verification }: DaemonJobResult) {
  return {
    entities,
    bytes,
    omissions: Object.fromEntries(omissions.map(({ kind, count: things }) => [kind, things])),
    warnings: warnings.length,
    level: verification?.level,
    durationMs: verification?.durationMs,
  };
}

function count(daemons: DaemonFacts[]): DaemonFigures['counts'] {
  const none = () => Object.fromEntries(DAEMON_STATES.map((state) => [state, 0]));
  const counts = Object.fromEntries(DAEMON_TYPES.map((type) => [type, none()])) as DaemonFigures['counts'];
  for (const { type, status } of daemons) counts[type][status]++;
  return counts;
}

function lastOf(ended: DaemonFacts[]): Partial<Record<DaemonType, DaemonFacts>> {
  const last: Partial<Record<DaemonType, DaemonFacts>> = {};
  for (const daemon of ended)
    if ((daemon.endedOn ?? 0) >= (last[daemon.type]?.endedOn ?? 0)) last[daemon.type] = daemon;
  return last;
}
