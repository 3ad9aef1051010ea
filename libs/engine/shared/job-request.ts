import type { Failure } from '#common';
import type { Journal } from '#contracts';
import type { ObjectStore } from '#storage';
import type { Repository } from './repository-session.js';

/** The fields that the requests of all jobs share. */
export interface JobRequest {
  daemonId: string;
  /** The product's version, for the manifest. */
  version: string;
  repository: Repository;
  store: ObjectStore;
  journal: Journal;
  /**
   * Only clean up after earlier attempts, then fail with this, unless one of them had finished: for a job that was
   * terminated before its next attempt.
   */
  endAfterSettling?: Failure;
  /** Stops the job, which then throws the signal's reason. */
  signal: AbortSignal;
}
