import type { S3Client } from '@aws-sdk/client-s3';
import { Retries, retry } from '#common';
import { inShort, storeFailure, type Target } from './errors.js';

/** Is told what holds requests up just now, in a few words, and nothing once they go on. */
export type TellTrouble = (trouble: string | undefined) => void;

/** Sends requests to the bucket: tries again what may pass, and says what a failure means. */
export class Bucket {
  private readonly troubles = new Map<symbol, string>();

  constructor(
    readonly client: S3Client,
    readonly name: string,
    /** For how long a request that fails is tried again: milliseconds. */
    private readonly retryForMs: number,
    private readonly tellTrouble: TellTrouble,
  ) {}

  /** Sends a request that may be sent again. @throws Failure STORE_*; the signal's reason */
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

  /** For what takes more than one request. */
  retries(signal: AbortSignal): Retries {
    return new Retries(this.retryOptions(signal));
  }

  private retryOptions(signal: AbortSignal | undefined): ConstructorParameters<typeof Retries>[0] {
    const who = Symbol();
    return {
      retryForMs: this.retryForMs,
      signal,
      // A request cannot mend the upload that it belongs to: the next attempt of the job begins another one.
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
