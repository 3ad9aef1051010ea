import { type AttemptNotes, Failure, type Progress, type ReportProgress } from '#contracts';
import type { DaemonJob, DaemonJobProgress } from './daemon-job.js';

/** Progress leaves the process at most this often. */
const WRITE_EVERY_MS = 500;

export interface JobJournalOptions {
  /** Gives the address of a key, for the status. */
  urlOf: (key: string) => string;
  /** The job as it is now. */
  reload: () => Promise<DaemonJob | undefined>;
  /** Is told of progress that could not be written: no reason to stop the work. */
  onError: (error: unknown) => void;
}

/** A daemon's progress, kept in its job. One write at a time; in between the latest line wins. */
export class JobJournal {
  private kept: AttemptNotes;
  private line: Progress;
  private writing: Promise<void> | undefined;
  private pending: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly job: DaemonJob,
    private readonly options: JobJournalOptions,
  ) {
    const earlier = typeof job.progress === 'object' ? job.progress : undefined;
    this.kept = earlier?.notes ?? { archives: [], sessions: [] };
    this.line = {
      message: 'Starting...',
      current: earlier?.current ?? 0,
      total: earlier?.total ?? 0,
    };
  }

  get notes(): Readonly<AttemptNotes> {
    return this.kept;
  }

  readonly report: ReportProgress = (progress) => {
    this.line = progress;
    if (this.closed) return;
    this.pending ??= setTimeout(() => {
      this.pending = undefined;
      this.write().catch(this.options.onError);
    }, WRITE_EVERY_MS);
  };

  /** Nothing is written any more: another worker may have the daemon. */
  close(): void {
    this.closed = true;
    clearTimeout(this.pending);
    this.pending = undefined;
  }

  /** A new message over the numbers as they are. */
  say(message: string): void {
    this.report({ ...this.line, message });
  }

  /** Durable once it resolves. */
  async note(change: Partial<AttemptNotes>): Promise<void> {
    this.kept = { ...this.kept, ...change };
    await this.write();
  }

  /** Writes the latest line now. Nothing is written afterwards unless something is reported again. */
  async flush(): Promise<void> {
    clearTimeout(this.pending);
    this.pending = undefined;
    if (!this.closed) await this.write().catch(this.options.onError);
  }

  private async write(): Promise<void> {
    while (this.writing !== undefined) await this.writing.catch(() => undefined); // Its own caller hears of it.
    const { safetyKey } = this.kept;
    const progress: DaemonJobProgress = {
      ...this.line,
      attempt: this.job.attemptsStarted,
      notes: this.kept,
      ...(safetyKey !== undefined && { safetyBackupUrl: this.options.urlOf(safetyKey) }),
    };
    this.writing = this.writeUnlessTakenOver(progress);
    try {
      await this.writing;
    } finally {
      this.writing = undefined;
    }
  }

  /**
   * A worker that was frozen may wake up after another one has taken over, and not know it yet: it must not
   * write over what the other one has noted, and above all not go on as if it had noted something itself.
   */
  private async writeUnlessTakenOver(progress: DaemonJobProgress): Promise<void> {
    const now = await this.options.reload();
    const attempt = typeof now?.progress === 'object' ? now.progress.attempt : 0;
    if (this.closed || now === undefined || now.finishedOn !== undefined || attempt > progress.attempt) {
      this.close();
      throw new Failure('WORKER_LOST_LOCK', 'transient', 'The worker lost its hold on the daemon.');
    }
    await this.job.updateProgress(progress);
  }
}
