import type { S3Client } from '@aws-sdk/client-s3';

/** The object store's clock, as the Date of its latest answer shows it. Signatures hold by that clock alone. */
export class StoreClock {
  private aheadMs = 0;

  constructor(client: S3Client) {
    client.middlewareStack.add(
      (next) => async (request) => {
        const result = await next(request);
        const { headers } = result.response as { headers?: Record<string, string> };
        const shown = Date.parse(headers?.['date'] ?? '');
        if (!Number.isNaN(shown)) this.aheadMs = shown - Date.now();
        return result;
      },
      { step: 'deserialize', name: 'storeClock', priority: 'low' },
    );
  }

  now(): Date {
    return new Date(Date.now() + this.aheadMs);
  }
}
