import { STATUS_CODES } from 'node:http';
import { S3ServiceException } from '@aws-sdk/client-s3';
import { errorSentence, Failure } from '#contracts';

/** What a request was for, so that its failure names the thing. */
export interface Target {
  key?: string;
  /** The permission that the request needs, for the hint. */
  permission: string;
}

/**
 * Says what a failed S3 request means, and whether trying again can help.
 * Error codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
export function storeFailure(error: unknown, bucket: string, { key, permission }: Target): unknown {
  if (error instanceof Failure || isAbort(error)) return error;
  const object = key === undefined ? `The bucket ${bucket}` : `The object ${key} of the bucket ${bucket}`;
  const cause = error;
  const status = statusOf(error);
  if (status === undefined)
    return new Failure(
      'STORE_UNREACHABLE',
      'transient',
      `The object store cannot be reached for the bucket ${bucket}: ${error instanceof Error ? error.message || error.name : String(error)}.`,
      { hint: 'Check S3_ENDPOINT, AWS_REGION, the network, and that credentials are set.', cause },
    );
  const code = codeOf(error, status);
  const preface = `Status Code: ${status}, AWS Request ID: ${requestIdOf(error)}, AWS Error Code: ${code}`;
  const options = { cause, preface };
  if (code === 'NoSuchBucket' || (status === 404 && key === undefined))
    return new Failure('STORE_BUCKET_MISSING', 'permanent', `There is no bucket ${bucket} (NoSuchBucket).`, {
      ...options,
      hint: 'Create it, or check S3_BUCKET and S3_ENDPOINT.',
    });
  if (
    [
      'InvalidAccessKeyId',
      'SignatureDoesNotMatch',
      'ExpiredToken',
      'InvalidToken',
      'TokenRefreshRequired',
    ].includes(code)
  )
    return new Failure(
      'STORE_LOGIN_REFUSED',
      'permanent',
      `The object store refused the credentials (${code}).`,
      {
        ...options,
        hint: 'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role that the SDK takes.',
      },
    );
  if (code === 'NoSuchUpload')
    return new Failure(
      'STORE_UPLOAD_GONE',
      'permanent',
      `The object store knows the unfinished upload of ${key} no more (NoSuchUpload).`,
      { ...options, hint: 'Look for a rule of the bucket that removes unfinished uploads too early.' },
    );
  // The SDK has corrected its clock by the store's when it met this, so that the next try is of the right time.
  if (code === 'RequestTimeTooSkewed')
    return new Failure(
      'STORE_REQUEST_FAILED',
      'transient',
      `The clock of this machine differs from the object store's (${code}).`,
      { ...options, hint: 'Set the clock.' },
    );
  if (code === 'AccessDenied' || status === 403)
    return new Failure(
      'STORE_ACCESS_DENIED',
      'permanent',
      `Access Denied: the credentials lack ${permission} on the bucket ${bucket}.`,
      {
        ...options,
        hint: `Grant ${permission}, then start again.`,
      },
    );
  if (code === 'NoSuchKey' || status === 404)
    return new Failure('STORE_OBJECT_MISSING', 'permanent', `${object} does not exist.`, options);
  if (status === 412)
    return new Failure(
      'STORE_REQUEST_FAILED',
      'permanent',
      `${object} was replaced while it was read.`,
      options,
    );
  const transient =
    (status >= 500 && status !== 501) ||
    status === 429 ||
    status === 408 ||
    code === 'RequestTimeout' ||
    code === 'SlowDown';
  return new Failure(
    'STORE_REQUEST_FAILED',
    transient ? 'transient' : 'permanent',
    `${object}: the object store answered ${status} ${code}: ${error instanceof Error ? error.message : ''}`,
    options,
  );
}

/** What the store said, or the network, in a few words. */
export function inShort({ cause }: Failure): string {
  const status = statusOf(cause);
  if (status === undefined) return errorSentence(cause);
  const code = codeOf(cause, status);
  return `${status} ${/^(Unknown|UnknownError|\d+)$/.test(code) ? STATUS_CODES[status] : code}`;
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

function statusOf(error: unknown): number | undefined {
  const metadata = error instanceof Error && '$metadata' in error ? error.$metadata : undefined;
  const status = (metadata as { httpStatusCode?: number } | undefined)?.httpStatusCode;
  // A success status here means that the body broke off, not that the store refused.
  return status !== undefined && status >= 300 ? status : undefined;
}

/** HEAD has no body, so that the SDK names such errors after the status: "Forbidden", "NotFound", "Unknown". */
function codeOf(error: unknown, status: number): string {
  const name = error instanceof S3ServiceException || error instanceof Error ? error.name : 'Unknown';
  if (status === 403 && (name === 'Forbidden' || name === '403' || name === 'UnknownError'))
    return 'AccessDenied';
  return name;
}

function requestIdOf(error: unknown): string {
  return (error instanceof S3ServiceException ? error.$metadata.requestId : undefined) ?? 'none';
}
