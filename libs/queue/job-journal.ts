import type { AttemptNotes, Progress, ReportProgress } from '#contracts';
import type { DaemonJob, DaemonJobProgress } from './daemon-job.js';

/** Progress leaves the process at most this often. */
const WRITE_EVERY_MS = 500;

/** A daemon's progress, kept in its job. One write at a time; in between the latest line wins. */
export class JobJournal {
  private kept: AttemptNotes;
  private line: Progress;
  private writing: Promise<void> | undefined;
  private pending: NodeJS.Timeout | undefined;

  /**
   * @param urlOf gives the address of a key, for the status
   * @param onError is told of progress that could not be written: no reason to stop the work
   */
  constructor(
    private readonly job: DaemonJob,
    private readonly urlOf: (key: string) => string,
    private readonly onError: (error: unknown) => void,
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
    this.pending ??= setTimeout(() => {
      this.pending = undefined;
      this.write().catch(this.onError);
    }, WRITE_EVERY_MS);
  };

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
    await this.write().catch(this.onError);
  }

  private async write(): Promise<void> {
    while (this.writing !== undefined) await this.writing.catch(() => undefined); // Its own caller hears of it.
    const { safetyKey } = this.kept;
    const progress: DaemonJobProgress = {
      ...this.line,
      attempt: this.job.attemptsStarted,
      notes: this.kept,
      ...(safetyKey !== undefined && { safetyBackupUrl: this.urlOf(safetyKey) }),
    };
    this.writing = this.job.updateProgress(progress);
    try {
      await this.writing;
    } finally {
      this.writing = undefined;
    }
  }
}
