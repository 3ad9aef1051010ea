import { errorSentence, Failure, fullText } from '#common';
import type { AttemptNotes, Journal, Progress, ReportProgress } from '#contracts';
import type { Keys } from '#keys';
import { signedProgress } from './authentic-jobs.js';
import type { DaemonJob, DaemonJobProgress } from './daemon-job.js';
import { answered } from './queue-unavailable.js';
import { writable } from './job-failure.js';

/** How often progress is written. A message of a worker that was frozen stands for at most this time. */
const WRITE_EVERY_MS = 500;

const TAKEN_OVER = '(taken over from a worker that stopped answering)';

export interface JobJournalOptions {
  /** Sign the progress. */
  keys: Keys;
  /** Gives the address of a key, for the status. */
  urlOf: (key: string) => string;
  /** The job as it is now. */
  reload: () => Promise<DaemonJob | undefined>;
  /** Called once when another worker has taken the job over. The journal is closed, and the work must stop. */
  onLost: (failure: Failure) => void;
  /** Called for progress that could not be written, which does not stop the work. */
  onError: (error: unknown) => void;
}

/** Stores the progress and the notes of an attempt in its job. Writes one at a time, and only the latest progress. */
export class JobJournal implements Journal {
  private kept: AttemptNotes;
  private line: Progress;
  private suffix: string;
  private changed = true;
  private interruption: string | undefined;
  private failure: DaemonJobProgress['failure'];
  private closed = false;
  private writing: Promise<void> | undefined;
  private readonly timer: NodeJS.Timeout;

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
    this.suffix = job.stalledCounter > (earlier?.takeovers ?? 0) ? ` ${TAKEN_OVER}` : '';
    this.timer = setInterval(() => {
      if (this.writing === undefined) this.write().catch(this.options.onError);
    }, WRITE_EVERY_MS);
  }

  get notes(): Readonly<AttemptNotes> {
    return this.kept;
  }

  readonly report: ReportProgress = (progress) => {
    this.line = progress;
    this.changed = true;
  };

  /** Appends the cause of a delay to each message, until called with undefined. */
  interrupted(by: string | undefined): void {
    if (this.interruption === by) return;
    this.interruption = by;
    this.changed = true;
  }

  /** Durable once it resolves. @throws Failure WORKER_LOST_LOCK if another worker has taken the job over */
  async note(change: Partial<AttemptNotes>): Promise<void> {
    this.kept = { ...this.kept, ...change };
    this.changed = true;
    await this.write();
  }

  /** Whether a later attempt of the job has begun. */
  async isOvertaken(): Promise<boolean> {
    const now = await this.options.reload();
    return now === undefined || now.attemptsStarted > this.job.attemptsStarted;
  }

  /** Keeps the full text of a failure for readers who may see rows. It is written with the next progress. */
  failed(error: unknown): void {
    const text = fullText(error);
    if (text === undefined) return;
    this.failure = {
      message: writable(text.message),
      details: writable(text.details),
      reason: writable(errorSentence(error)),
    };
    this.changed = true;
  }

  /** Writes the latest progress, or a last message with the present numbers, and closes the journal. */
  async end(message?: string): Promise<void> {
    if (message !== undefined) {
      this.suffix = '';
      this.report({ ...this.line, message });
    }
    if (!this.closed) await this.write().catch(this.options.onError);
    this.close();
  }

  /** Stops writing. */
  close(): void {
    this.closed = true;
    clearInterval(this.timer);
  }

  private get message(): string {
    const message = this.line.message + this.suffix;
    return this.interruption === undefined ? message : `${message}, ${this.interruption}`;
  }

  private async write(): Promise<void> {
    while (this.writing !== undefined) await this.writing.catch(() => undefined); // Its own caller gets the error.
    this.writing = this.writeUnlessTakenOver();
    try {
      await this.writing;
    } finally {
      this.writing = undefined;
    }
  }

  /**
   * Writes unless a later attempt has begun. A worker that was frozen may resume after a takeover without knowing: it
   * must not overwrite the notes of the later attempt, nor proceed as if its own were stored. If it is frozen between the
   * check and the write, the later attempt writes its own progress again.
   */
  private async writeUnlessTakenOver(): Promise<void> {
    const { attemptsStarted: attempt, stalledCounter: takeovers } = this.job;
    const now = await this.options.reload();
    if (this.closed || now === undefined || now.finishedOn !== undefined || now.attemptsStarted > attempt) {
      const lost = new Failure('WORKER_LOST_LOCK', 'transient', 'The worker lost its lock on the job.');
      if (!this.closed) this.options.onLost(lost);
      this.close();
      throw lost;
    }
    const written = typeof now.progress === 'object' ? now.progress.attempt : 0;
    if (!this.changed && written === attempt) return;
    const { safetyKey } = this.kept;
    const progress = signedProgress(this.options.keys, this.job, {
      ...this.line,
      message: writable(this.message),
      attempt,
      takeovers,
      notes: this.kept,
      ...(safetyKey !== undefined && { safetyBackupUrl: this.options.urlOf(safetyKey) }),
      ...(this.failure !== undefined && { failure: this.failure }),
    });
    this.changed = false;
    try {
      await answered(this.job.updateProgress(progress));
    } catch (error) {
      this.changed = true;
      throw error;
    }
  }
}
