import { UnrecoverableError } from 'bullmq';
import { errorDetails, errorSentence, Failure } from '#common';
import { writable } from './writable.js';

/**
 * The error that BullMQ keeps of a failed attempt: its message becomes errorMessage, its stack errorDetails.
 * What trying again cannot help is marked so that it is not tried again.
 */
export function jobFailure(error: unknown): Error {
  const permanent = !(error instanceof Failure) || error.persistence === 'permanent';
  const message = writable(errorSentence(error));
  const failure = permanent ? new UnrecoverableError(message) : new Error(message);
  failure.stack = writable(errorDetails(error));
  return failure;
}
