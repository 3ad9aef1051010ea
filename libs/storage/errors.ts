import { STATUS_CODES } from 'node:http';
import { S3ServiceException } from '@aws-sdk/client-s3';
import { type ErrorCode, errorSentence, Failure } from '#common';
import { remedyFor } from './error-codes.js';

/** The object and the permission of a request, for the message of its failure. */
export interface Target {
  key?: string;
  /** The permission that the request needs, for the hint. */
  permission: string;
}

/**
 * Explains a failed S3 request, and says whether a retry can help.
 * Error codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
export function storeFailure(error: unknown, bucket: string, target: Target): unknown {
  if (error instanceof Failure || isAbort(error)) return error;
  const status = statusOf(error);
  if (status === undefined) return unanswered(error, bucket);
  const { key, permission } = target;
  const object = key === undefined ? `The bucket ${bucket}` : `The object ${key} of the bucket ${bucket}`;
  const code = codeOf(error, status);
  const sentence = sentenceOf(error);
  const remedy = remedyFor(code, status);
  const fail = (failureCode: ErrorCode, message: string, hint?: string) =>
    new Failure(failureCode, remedy === 'none' ? 'permanent' : 'transient', message, {
      cause: error,
      preface: `Status Code: ${status}, AWS Request ID: ${requestIdOf(error)}, AWS Error Code: ${code}`,
      ...(hint !== undefined && { hint }),
    });
  const answer = `${object}: the object store answered ${status} ${code}${sentence && `: ${sentence}`}.`;

  if (code === 'NoSuchBucket' || (status === 404 && key === undefined))
    return fail(
      'STORE_BUCKET_MISSING',
      `The bucket ${bucket} does not exist (NoSuchBucket).`,
      'Create it, or check S3_BUCKET and S3_ENDPOINT.',
    );
  if (LOGIN_CODES.includes(code))
    return fail(
      'STORE_LOGIN_REFUSED',
      `The object store refused the credentials (${code}).`,
      'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of this machine.',
    );
  if (code === 'NoSuchUpload')
    return fail(
      'STORE_UPLOAD_GONE',
      `The multipart upload of ${key} no longer exists (NoSuchUpload).`,
      'Check for a lifecycle rule that aborts incomplete uploads too early.',
    );
  if (remedy === 'upload') return fail('STORE_UPLOAD_GONE', answer);
  if (code === 'AccessDenied') {
    const lacks = LACKS_PERMISSION.test(sentence);
    return fail(
      'STORE_ACCESS_DENIED',
      lacks ? `Access Denied: the credentials lack ${permission} on the bucket ${bucket}.` : answer,
      lacks ? `Grant ${permission}, then start again.` : deniedHint(sentence, permission),
    );
  }
  const region = regionOf(error);
  if (REGION_CODES.includes(code) || (region !== undefined && (status === 301 || status === 400)))
    return fail(
      'STORE_REQUEST_FAILED',
      answer,
      region === undefined
        ? 'Check AWS_REGION, S3_ENDPOINT and AWS_ACCESS_KEY_ID.'
        : `Check AWS_REGION, S3_ENDPOINT and AWS_ACCESS_KEY_ID: the bucket is in ${region}.`,
    );
  if (code === 'NoSuchKey' || status === 404)
    return fail('STORE_OBJECT_MISSING', `${object} does not exist.`);
  if (status === 412) return fail('STORE_REQUEST_FAILED', `${object} was replaced while it was read.`);
  return fail('STORE_REQUEST_FAILED', answer, hintFor(code));
}

const LOGIN_CODES = [
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'ExpiredToken',
  'InvalidToken',
  'InvalidSecurity',
  'TokenRefreshRequired',
];

const REGION_CODES = [
  'AuthorizationHeaderMalformed',
  'AuthorizationQueryParametersError',
  'IllegalLocationConstraintException',
  'PermanentRedirect',
];

/** The explanations of stores for a missing permission, which a grant adds. */
const LACKS_PERMISSION = /^(access[ _]?denied|forbidden|unauthorized)?$/i;

/** The hint for an AccessDenied that the store explains. */
function deniedHint(sentence: string, permission: string): string | undefined {
  if (/explicit deny/i.test(sentence)) return `Change the policy that denies ${permission}.`;
  if (/\bkms\b/i.test(sentence)) return 'Grant kms:GenerateDataKey and kms:Decrypt on the encryption key.';
  if (/is not authorized to perform/i.test(sentence)) return `Grant ${permission}, then start again.`;
  return undefined;
}

function hintFor(code: string): string | undefined {
  if (code.startsWith('KMS.')) return 'Check the encryption key of the bucket.';
  switch (code) {
    case 'RequestTimeTooSkewed':
      return "Set the clock of this machine: it differs from the object store's.";
    case 'InvalidObjectState':
      return 'Restore the object from its archive class (RestoreObject), then start again.';
    case 'EntityTooLarge':
    case 'EntityTooSmall':
      return 'Check S3_PART_BYTES and S3_MAX_PARTS.';
    default:
      return undefined;
  }
}

/** The failure of a request without an answer, because of the network or because the SDK sent nothing. */
function unanswered(error: unknown, bucket: string): Failure {
  const said = (error instanceof Error ? error.message || error.name : String(error)).replace(/\.$/, '');
  if (error instanceof Error && error.name === 'CredentialsProviderError')
    return new Failure('STORE_LOGIN_REFUSED', 'transient', `No credentials for the object store: ${said}.`, {
      hint: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role.',
      cause: error,
    });
  if (/^Region (is missing|not accepted)/.test(said))
    return new Failure('STORE_REQUEST_FAILED', 'permanent', `AWS_REGION is wrong: ${said}.`, {
      cause: error,
    });
  if (said.includes('Invalid character in header content'))
    return new Failure(
      'STORE_LOGIN_REFUSED',
      'permanent',
      `A setting holds a character that HTTP headers do not allow: ${said}.`,
      {
        hint: 'Check AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN for line breaks and non-ASCII characters.',
        cause: error,
      },
    );
  return new Failure(
    'STORE_UNREACHABLE',
    'transient',
    `Cannot reach the object store for the bucket ${bucket}: ${said}.`,
    { hint: 'Check S3_ENDPOINT, AWS_REGION and the network.', cause: error },
  );
}

/** A failure in a few words of the store or the network. */
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
  // A success status here means that the body ended early, not that the store refused.
  return status !== undefined && status >= 300 ? status : undefined;
}

/** The error code. HEAD answers have no body, so the SDK names their errors after the status: "Forbidden", "NotFound". */
function codeOf(error: unknown, status: number): string {
  const name = error instanceof Error ? error.name : 'Unknown';
  if (status !== 403 || !/^(Forbidden|403|Unknown|UnknownError)$/.test(name)) return name;
  // Only the Date of the answer shows this error: the SDK has compared it, and uses it from now on.
  const { clockSkewCorrected } = (error as { $metadata: { clockSkewCorrected?: boolean } }).$metadata;
  return clockSkewCorrected === true ? 'RequestTimeTooSkewed' : 'AccessDenied';
}

/** The message of the store, without a full stop. Empty if there is none. */
function sentenceOf(error: unknown): string {
  const message = error instanceof Error ? error.message : '';
  return /^(Unknown|UnknownError|Forbidden|\d+)$/.test(message) ? '' : message.trim().replace(/\.$/, '');
}

/** The bucket's region, from the answer. */
function regionOf(error: unknown): string | undefined {
  const response = error instanceof S3ServiceException ? error.$response : undefined;
  return (response?.headers as Record<string, string> | undefined)?.['x-amz-bucket-region'];
}

function requestIdOf(error: unknown): string {
  return (error instanceof S3ServiceException ? error.$metadata.requestId : undefined) ?? 'none';
}
