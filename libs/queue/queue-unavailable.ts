import { Failure } from '#common';
import { refusalOf } from './refusals.js';

/** The queue did not answer, or refused what it was asked for. */
export class QueueUnavailable extends Failure {
  constructor(cause: unknown, consequence = '') {
    const refusal = refusalOf(cause);
    const what =
      refusal === undefined ? 'does not answer.' : `refuses this: ${refusal.reason.replace(/\.$/, '')}.`;
    super('QUEUE_UNAVAILABLE', 'transient', `The queue ${what}${consequence}`, {
      hint: refusal?.hint ?? 'Try again in a moment.',
      cause,
    });
  }
}

/**
 * What the queue answers to a request.
 * @param otherwise what it means that it does not, as a sentence after a blank
 * @throws QueueUnavailable
 */
export async function answered<Result>(request: Promise<Result>, otherwise?: string): Promise<Result> {
  try {
    return await request;
  } catch (error) {
    throw new QueueUnavailable(error, otherwise);
  }
}

/**
 * Catches what BullMQ throws of a job that it cannot read, such as one whose data are no JSON: that is no job of ours,
 * and does not mean that the queue is away.
 */
export function undefinedIfUnreadable(error: unknown): undefined {
  const { name, message } = error as Error;
  if (!['SyntaxError', 'TypeError'].includes(name) && !message.startsWith('WRONGTYPE')) throw error;
}
