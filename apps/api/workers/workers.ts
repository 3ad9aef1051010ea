import { type BeforeApplicationShutdown, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import {
  type DatabaseIdentity,
  type DatabaseTarget,
  DEFAULT_REPOSITORY,
  type MissingWorker,
  type RepositoryIdentity,
  type WorkerView,
} from '#contracts';
import { type Beat, repositoryIdentity, WorkerRegistry } from '#queue';

const LOOK_EVERY_MS = 2_500;
/**
 * A worker writes its heartbeat every five seconds, and counts as gone after two missed ones. Together with the time
 * between two looks, that is less than 15 seconds after its death.
 */
const GONE_AFTER_MS = 12_000;
const FORGOTTEN_AFTER_MS = 24 * 60 * 60 * 1000;

/** A worker's last heartbeat. The times are those of this process's monotonic clock. */
interface Seen {
  beat: Beat;
  firstSeen: number;
  changed: number;
}

/** The running workers, and those that are missing. */
export interface WorkerList {
  /** The longest running first. */
  workers: WorkerView[];
  missing: MissingWorker[];
}

/** The number of workers, and of each kind of warning. Contains no names, because it is shown without a login. */
export interface WorkerSummary {
  count: number;
  /** How many of them run a job. */
  busy: number;
  missing: number;
  warnings: Record<string, number>;
}

/** The running workers in numbers, for one repository. */
export interface Connected {
  count: number;
  /** How many of them serve the repository. */
  serving: number;
  /** How many of these take jobs. */
  taking: number;
  /** How many jobs these run at once. */
  capacity: number;
}

/**
 * The running workers, from their heartbeats. A worker is alive if the counter in its heartbeat rises; clocks are compared
 * only for a worker that is seen for the first time.
 */
@Injectable()
export class Workers implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private seen: Map<string, Seen> | undefined;
  /** The last look that the queue has answered. */
  private lookedOn = -Infinity;
  private isAway = false;
  private looking: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly registry: WorkerRegistry) {}

  onApplicationBootstrap(): void {
    // Other callers of the queue report that it is unavailable.
    const look = () => void this.look().catch(() => undefined);
    look();
    this.timer = setInterval(look, LOOK_EVERY_MS);
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** @throws QueueUnavailable */
  async list(): Promise<WorkerList> {
    await this.look();
    return this.present();
  }

  /** The workers at the last look, which any number of callers share. @throws QueueUnavailable */
  async connected(repository: string): Promise<Connected> {
    if (this.isAway || performance.now() - this.lookedOn > 2 * LOOK_EVERY_MS) await this.look();
    const alive = this.alive();
    const serving = alive.filter(({ beat }) => beat.repositories?.includes(repository) ?? true);
    const taking = serving.filter(({ beat }) => beat.takesJobs);
    // A worker of 0.1.0 does not say how many jobs it runs at once.
    const capacity = taking.reduce((sum, { beat }) => sum + (beat.concurrency ?? 1), 0);
    return { count: alive.length, serving: serving.length, taking: taking.length, capacity };
  }

  /** Where the workers' REPOSITORY_URL leads; null while none serves the default repository. */
  defaultTarget(): DatabaseTarget | null {
    const serving = this.alive().filter(
      ({ beat }) => beat.takesJobs && (beat.repositories?.includes(DEFAULT_REPOSITORY) ?? true),
    );
    return serving[0]?.beat.target ?? null;
  }

  /** The last known summary, without a query; undefined while the queue is unavailable. */
  summary(): WorkerSummary | undefined {
    if (this.seen === undefined || this.isAway) return undefined;
    const { workers, missing } = this.present();
    const warnings: Record<string, number> = {};
    for (const { kind } of workers.flatMap((worker) => worker.warnings))
      warnings[kind] = (warnings[kind] ?? 0) + 1;
    return { count: workers.length, busy: countBusy(workers), missing: missing.length, warnings };
  }

  /** @throws QueueUnavailable */
  async identity(repository?: string): Promise<RepositoryIdentity> {
    return repositoryIdentity(await this.registry.identity(repository));
  }

  /** Records another database for a repository, so that its jobs accept it. @throws QueueUnavailable */
  async accept(identity: DatabaseIdentity, moved: boolean, repository?: string): Promise<RepositoryIdentity> {
    return repositoryIdentity(await this.registry.accept(identity, moved, repository));
  }

  private look(): Promise<void> {
    this.looking ??= this.lookOnce()
      .catch((error: unknown) => {
        this.isAway = true;
        throw error;
      })
      .finally(() => (this.looking = undefined));
    return this.looking;
  }

  private async lookOnce(): Promise<void> {
    const beats = await this.registry.beats();
    const now = performance.now();
    const before = this.seen ?? new Map<string, Seen>();
    // Nobody could see a heartbeat while the queue was away or this process was frozen: that time does not count.
    const blind = Math.max(0, now - this.lookedOn - 2 * LOOK_EVERY_MS);
    this.seen = new Map(
      beats.map((beat) => {
        const earlier = before.get(beat.id);
        if (earlier === undefined) {
          const age = Math.max(0, Date.now() - beat.at);
          return [beat.id, { beat, firstSeen: now, changed: now - age }];
        }
        // An older heartbeat that was put back is no sign of life.
        return beat.beat <= earlier.beat.beat
          ? [beat.id, { ...earlier, changed: earlier.changed + blind }]
          : [beat.id, { ...earlier, beat, changed: now }];
      }),
    );
    this.lookedOn = now;
    this.isAway = false;
    for (const [id, { firstSeen, changed }] of this.seen)
      if (now - changed > FORGOTTEN_AFTER_MS && now - firstSeen > GONE_AFTER_MS)
        await this.registry.remove(id);
  }

  private present(): WorkerList {
    const now = performance.now();
    const alive = this.alive(now);
    const workers = alive
      .map(({ beat, changed }) => viewOf(beat, Math.round(Date.now() - (now - changed))))
      .sort((one, other) => one.since - other.since);
    const gone = [...(this.seen?.values() ?? [])].filter((one) => !alive.includes(one));
    const beats = gone.map(({ beat }) => beat);
    return { workers, missing: missingOf(beats, workers) };
  }

  private alive(now = performance.now()): Seen[] {
    return [...(this.seen?.values() ?? [])].filter(({ changed }) => now - changed <= GONE_AFTER_MS);
  }
}

function viewOf(beat: Beat, lastBeatOn: number): WorkerView {
  const { id, host, version, node, pgDump, jobs, concurrency, repositories } = beat;
  const { target, role, superuser, identity, takesJobs, warnings, since } = beat;
  const program = { id, host, version, node, pgDump, jobs, concurrency, repositories };
  return { ...program, target, role, superuser, identity, takesJobs, warnings, since, lastBeatOn };
}

/** How many of these workers run a job. */
export function countBusy(workers: WorkerView[]): number {
  return workers.filter(({ jobs }) => jobs.length > 0).length;
}

/** A worker removes its heartbeat when it is stopped, and begins with a new one when it is started again. */
function missingOf(gone: Beat[], workers: WorkerView[]): MissingWorker[] {
  const starts = workers.map(({ since }) => since);
  const missing: MissingWorker[] = [];
  for (const { id, host, version, at: lastBeatOn } of gone.sort((one, other) => one.at - other.at)) {
    const replacement = starts.findIndex((since) => since > lastBeatOn);
    if (replacement >= 0) starts.splice(replacement, 1);
    else missing.push({ id, host, version, lastBeatOn });
  }
  return missing;
}
