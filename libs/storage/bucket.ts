import type { S3Client } from '@aws-sdk/client-s3';
import { Retries, retry } from '#common';
import { inShort, storeFailure, type Target } from './errors.js';

/** Called with the cause of a delay, in a few words, and with undefined once requests succeed again. */
export type TellTrouble = (trouble: string | undefined) => void;

/** Sends requests to the bucket. Retries transient failures, and explains each failure. */
export class Bucket {
  private readonly troubles = new Map<symbol, string>();

  constructor(
    readonly client: S3Client,
    readonly name: string,
    /** How long a failing request is retried: milliseconds. */
    private readonly retryForMs: number,
    private readonly tellTrouble: TellTrouble,
  ) {}

  /** Sends a request, and retries it. @throws Failure STORE_*; the signal's reason */
  request<Output>(
    send: (options: { abortSignal?: AbortSignal }) => Promise<Output>,
    target: Target,
    signal?: AbortSignal,
  ): Promise<Output> {
    return retry(async () => {
      try {
        return await send(signal === undefined ? {} : { abortSignal: signal });
      } catch (error) {
        throw storeFailure(error, this.name, target);
      }
    }, this.retryOptions(signal));
  }

  /** Retries an operation of several requests. */
  retries(signal: AbortSignal): Retries {
    return new Retries(this.retryOptions(signal));
  }

  private retryOptions(signal: AbortSignal | undefined): ConstructorParameters<typeof Retries>[0] {
    const who = Symbol();
    return {
      retryForMs: this.retryForMs,
      signal,
      // A request cannot repair its upload: the next attempt of the job begins another one.
      isOver: ({ code }) => code === 'STORE_UPLOAD_GONE',
      onTrouble: (trouble) => {
        this.troubles.delete(who);
        if (trouble !== undefined)
          this.troubles.set(
            who,
            `waiting for the object store: ${inShort(trouble.failure)} (try ${trouble.nextTry})`,
          );
        this.tellTrouble([...this.troubles.values()].at(-1));
      },
    };
  }
}
