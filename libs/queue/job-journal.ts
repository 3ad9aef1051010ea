import type { Progress, ReportProgress, StartedArchive } from '#contracts';
import type { DaemonJob, DaemonJobProgress } from './daemon-job.js';

/** Progress leaves the process at most this often. */
const WRITE_EVERY_MS = 500;

/** A daemon's progress, kept in its job. One write at a time; in between the latest line wins. */
export class JobJournal {
  private entries: StartedArchive[];
  private line: Progress;
  private writing: Promise<void> | undefined;
  private pending: NodeJS.Timeout | undefined;

  /** @param onError is told of progress that could not be written: no reason to stop the work */
  constructor(
    private readonly job: DaemonJob,
    private readonly onError: (error: unknown) => void,
  ) {
    const earlier = typeof job.progress === 'object' ? job.progress : undefined;
    this.entries = earlier?.archives ?? [];
    this.line = {
      message: 'Starting...',
      current: earlier?.current ?? 0,
      total: earlier?.total ?? 0,
    };
  }

  get archives(): readonly StartedArchive[] {
    return this.entries;
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
  async recordArchive(archive: StartedArchive): Promise<void> {
    this.entries = [...this.entries.filter(({ key }) => key !== archive.key), archive];
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
    const progress: DaemonJobProgress = {
      ...this.line,
      attempt: this.job.attemptsStarted,
      archives: this.entries,
    };
    this.writing = this.job.updateProgress(progress);
    try {
      await this.writing;
    } finally {
      this.writing = undefined;
    }
  }
}
