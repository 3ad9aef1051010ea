import type { Failure } from '#common';
import type { Journal } from '#contracts';
import type { ObjectStore } from '#storage';
import type { Repository } from './repository-session.js';

/** The part of a request that every job has. */
export interface JobRequest {
  daemonId: string;
  /** The product's version, for the manifest. */
  version: string;
  repository: Repository;
  store: ObjectStore;
  journal: Journal;
  /**
   * Settle only what earlier attempts left, then fail with this, unless one of them had finished: for a job
   * that was ended before its next attempt.
   */
  endAfterSettling?: Failure;
  /** Stops the job, which then throws the signal's reason. */
  signal: AbortSignal;
}
