import { DAEMON_STATES, DAEMON_TYPES, type DaemonState, type DaemonType } from '#contracts';
import type { DaemonQueue } from './daemon-queue.js';
import { daemonStatus } from './daemon-status.js';
import { answered } from './queue-unavailable.js';

/** Of each outcome, and of those that wait or run, so many are looked at: as many as are remembered by default. */
const MOST = 1_000;

/** Daemons that are fetched at once. */
const AT_ONCE = 100;

/** A daemon in numbers. */
interface DaemonFacts {
  type: DaemonType;
  status: DaemonState;
  /** Milliseconds since 1970. */
  startedOn: number;
  /** Missing while it goes on. */
  endedOn?: number;
  /** Until now, or until the end. */
  totalTimeMS: number;
  /** Of a completed one. */
  entities?: number;
  /** Of a completed one: its archive's length. Missing where it is not known. */
  bytes?: number | undefined;
}

/** The queue in numbers, for monitoring. */
export interface DaemonFigures {
  /** Of the newest 1000 of each outcome, and of those that wait or run. */
  counts: Record<DaemonType, Record<DaemonState, number>>;
  /** The one of each type that has completed last. */
  lastCompleted: Partial<Record<DaemonType, DaemonFacts>>;
  /** The one of each type that has ended last, however. */
  lastEnded: Partial<Record<DaemonType, DaemonFacts>>;
  /** Those that no worker has: the ones that will be tried again among them. */
  waiting: number;
  active: number;
  /** When the one was asked for that waits longest: milliseconds since 1970. */
  waitingSince?: number;
}

/**
 * Reads the figures out of the queue. Daemons that have ended do not change any more, and are fetched once: a reading
 * costs what has happened since the last one.
 */
export class DaemonFiguresReader {
  private ended = new Map<string, DaemonFacts>();

  constructor(private readonly daemons: DaemonQueue) {}

  /** @throws QueueUnavailable */
  async read(): Promise<DaemonFigures> {
    const { queue } = this.daemons;
    await this.forgetAnotherQueue();
    const {
      waiting = 0,
      delayed = 0,
      active = 0,
    } = await answered(queue.getJobCounts('waiting', 'delayed', 'active'));
    // Oldest first, and in the order in which daemons move on, so that none slips through.
    const waitingIds = numbered(await answered(queue.getRanges(['waiting', 'delayed'], 0, MOST - 1, true)));
    const activeIds = numbered(await answered(queue.getRanges(['active'], 0, MOST - 1, true)));
    const endedIds = numbered(await answered(queue.getRanges(['completed', 'failed'], 0, MOST - 1)));
    const facts = await this.factsOf([...new Set([...waitingIds, ...activeIds, ...endedIds])]);
    this.ended = new Map([...facts].filter(([, { endedOn }]) => endedOn !== undefined));

    const starts = waitingIds.map((id) => facts.get(id)).filter((daemon) => daemon?.status !== 'FAILED');
    const waitingSince = Math.min(...starts.map((daemon) => daemon?.startedOn ?? Infinity));
    return {
      counts: count([...facts.values()]),
      lastCompleted: lastOf([...facts.values()].filter(({ status }) => status === 'COMPLETED')),
      lastEnded: lastOf([...this.ended.values()]),
      waiting: waiting + delayed,
      active,
      ...(waitingSince !== Infinity && { waitingSince }),
    };
  }

  /** A queue that was lost counts its ids from 1 again: then nothing of what was fetched holds. */
  private async forgetAnotherQueue(): Promise<void> {
    const newest = Math.max(...[...this.ended.keys()].map(Number));
    const known = this.ended.get(String(newest));
    if (known === undefined) return;
    const job = await this.daemons.find(String(newest));
    if (job?.data.startedOn !== known.startedOn) this.ended.clear();
  }

  private async factsOf(ids: string[]): Promise<Map<string, DaemonFacts>> {
    const facts = new Map<string, DaemonFacts>();
    for (let start = 0; start < ids.length; start += AT_ONCE) {
      const batch = ids.slice(start, start + AT_ONCE);
      const found = await Promise.all(batch.map(async (id) => this.ended.get(id) ?? this.fetch(id)));
      found.forEach((daemon, index) => {
        if (daemon !== undefined) facts.set(batch[index] ?? '', daemon);
      });
    }
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
      ...(status === 'COMPLETED' && { entities: job.returnvalue.entities, bytes: job.returnvalue.bytes }),
    };
  }
}

/** Whatever else the queue knows has no number. */
function numbered(ids: string[]): string[] {
  return ids.filter((id) => /^\d+$/.test(id));
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
