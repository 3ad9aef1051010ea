import { UnrecoverableError } from 'bullmq';
import { errorDetails, errorSentence, Failure } from '#contracts';

/**
 * The error that BullMQ keeps of a failed attempt: its message becomes errorMessage, its stack errorDetails.
 * What trying again cannot help is marked so that it is not tried again.
 */
export function jobFailure(error: unknown): Error {
  const permanent = !(error instanceof Failure) || error.persistence === 'permanent';
  const failure = permanent ? new UnrecoverableError(errorSentence(error)) : new Error(errorSentence(error));
  failure.stack = errorDetails(error);
  return failure;
}
