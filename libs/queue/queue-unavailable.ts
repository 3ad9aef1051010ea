import { Failure } from '#contracts';

/** The queue did not answer. */
export class QueueUnavailable extends Failure {
  constructor(cause: unknown, consequence = '') {
    super('QUEUE_UNAVAILABLE', 'transient', `The queue does not answer.${consequence}`, {
      hint: 'Try again in a moment.',
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
