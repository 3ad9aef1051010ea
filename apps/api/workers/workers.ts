import { type BeforeApplicationShutdown, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import type { DatabaseIdentity, RepositoryIdentity, WorkerView } from '#contracts';
import { type Beat, repositoryIdentity, WorkerRegistry } from '#queue';

const LOOK_EVERY_MS = 2_500;
/** A worker writes its heartbeat every five seconds. After three missed ones it counts as gone. */
const GONE_AFTER_MS = 15_000;
const FORGOTTEN_AFTER_MS = 24 * 60 * 60 * 1000;

/** A worker's last heartbeat. The times are those of this process's monotonic clock. */
interface Seen {
  beat: Beat;
  firstSeen: number;
  changed: number;
}

/** The number of workers, and of each kind of warning. Contains no names, because it is shown without a login. */
export interface WorkerSummary {
  count: number;
  warnings: Record<string, number>;
}

/**
 * The running workers, from their heartbeats. A worker is alive if the counter in its heartbeat rises; clocks are compared
 * only for a worker that is seen for the first time.
 */
@Injectable()
export class Workers implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private seen: Map<string, Seen> | undefined;
  private looking: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly registry: WorkerRegistry) {}

  onApplicationBootstrap(): void {
    // Other callers of the queue report that it is unavailable.
    const look = () => void this.look().catch(() => (this.seen = undefined));
    look();
    this.timer = setInterval(look, LOOK_EVERY_MS);
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** @throws QueueUnavailable */
  async list(): Promise<WorkerView[]> {
    await this.look();
    return this.alive();
  }

  /** The last known summary, without a query; undefined while the queue is unavailable. */
  summary(): WorkerSummary | undefined {
    if (this.seen === undefined) return undefined;
    const workers = this.alive();
    const warnings: Record<string, number> = {};
    for (const { kind } of workers.flatMap((worker) => worker.warnings))
      warnings[kind] = (warnings[kind] ?? 0) + 1;
    return { count: workers.length, warnings };
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
    this.looking ??= this.lookOnce().finally(() => (this.looking = undefined));
    return this.looking;
  }

  private async lookOnce(): Promise<void> {
    const beats = await this.registry.beats();
    const now = performance.now();
    const before = this.seen ?? new Map<string, Seen>();
    this.seen = new Map(
      beats.map((beat) => {
        const earlier = before.get(beat.id);
        if (earlier === undefined) {
          const age = Math.max(0, Date.now() - beat.at);
          return [beat.id, { beat, firstSeen: now, changed: now - age }];
        }
        // An older heartbeat that was put back is no sign of life.
        return [beat.id, beat.beat <= earlier.beat.beat ? earlier : { ...earlier, beat, changed: now }];
      }),
    );
    for (const [id, { firstSeen, changed }] of this.seen)
      if (now - changed > FORGOTTEN_AFTER_MS && now - firstSeen > GONE_AFTER_MS)
        await this.registry.remove(id);
  }

  private alive(): WorkerView[] {
    const now = performance.now();
    return [...(this.seen?.values() ?? [])]
      .filter(({ changed }) => now - changed <= GONE_AFTER_MS)
      .map(({ beat, changed }) => {
        const { id, host, version, role, superuser, identity, takesJobs, warnings, since } = beat;
        const lastBeatOn = Math.round(Date.now() - (now - changed));
        return { id, host, version, role, superuser, identity, takesJobs, warnings, since, lastBeatOn };
      })
      .sort((one, other) => one.since - other.since);
  }
}
