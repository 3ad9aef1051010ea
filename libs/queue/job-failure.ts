import { UnrecoverableError } from 'bullmq';
import { errorDetails, errorSentence, Failure } from '#common';
import type { DaemonType } from '#contracts';

const NAMES: Record<DaemonType, string> = {
  BACKUP: 'Backup',
  RESTORE: 'Restore',
  VERIFY: 'Verify',
  DROP: 'Drop',
  CHECK: 'Check',
};

/** The errorMessage of a job that somebody terminated. */
export function terminationMessage(type: DaemonType): string {
  return `${NAMES[type]} terminated by the user`;
}

/** Ends an attempt whose job somebody terminated. */
export function termination(type: DaemonType): Failure {
  return new Failure('TERMINATED', 'permanent', terminationMessage(type));
}

/**
 * The error that BullMQ keeps of a failed attempt: its message becomes errorMessage, its stack errorDetails. BullMQ does
 * not retry permanent failures.
 */
export function jobFailure(error: unknown): Error {
  const permanent = !(error instanceof Failure) || error.persistence === 'permanent';
  const message = writable(errorSentence(error));
  const failure = permanent ? new UnrecoverableError(message) : new Error(message);
  failure.stack = writable(errorDetails(error));
  return failure;
}

/**
 * Replaces characters that PostgreSQL does not store: NUL and halves of surrogate pairs. Text from somebody else's
 * archive may hold both.
 */
export function writable(text: string): string {
  return text.replace(/[\0\p{Cs}]/gu, '\uFFFD');
}
