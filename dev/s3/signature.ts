import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { S3Error } from './body.js';

export interface Account {
  accessKeyId: string;
  secretAccessKey: string;
  /** Its rights by AWS's names, such as "s3:GetObject"; all if missing. */
  actions?: readonly string[];
}

export interface Target {
  /** Decoded. */
  path: string;
  query: URLSearchParams;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';
const MAX_SKEW_MS = 15 * 60_000;
const MAX_EXPIRES_SECONDS = 7 * 24 * 3600;

/**
 * Finds the account that signed a request, in its Authorization header or in its presigned URL.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
 * @returns the account, and the body's SHA-256 or the keyword in its place
 * @throws S3Error
 */
export function authenticate(
  { method = '', headers }: IncomingMessage,
  { path, query }: Target,
  accounts: readonly Account[],
): { account: Account; payload: string } {
  const isPresigned = query.has('X-Amz-Signature');
  const given = isPresigned ? query : authorization(headers.authorization);
  const field = (name: string) => given.get(`X-Amz-${name}`) ?? '';
  const date = isPresigned ? field('Date') : String(headers['x-amz-date']);
  const payload = isPresigned ? 'UNSIGNED-PAYLOAD' : String(headers['x-amz-content-sha256']);
  const [accessKeyId, ...scope] = field('Credential').split('/');
  const signedHeaders = field('SignedHeaders').split(';');

  if (field('Algorithm') !== ALGORITHM || scope.length !== 4 || scope[0] !== date.slice(0, 8))
    throw new S3Error(403, 'AccessDenied', 'The request has no AWS Signature Version 4.');
  const account = accounts.find((one) => one.accessKeyId === accessKeyId);
  if (account === undefined)
    throw new S3Error(403, 'InvalidAccessKeyId', 'There is no account with this access key.');
  const unsigned = Object.keys(headers).filter(
    (name) => (name === 'host' || name.startsWith('x-amz-')) && !signedHeaders.includes(name),
  );
  if (unsigned.length > 0)
    throw new S3Error(403, 'AccessDenied', `Headers are not signed: ${unsigned.join(', ')}.`);

  const canonicalQuery = [...query]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map((pair) => pair.join('='))
    .join('&');
  const canonicalHeaders = signedHeaders
    .map(
      (name) =>
        `${name}:${String(headers[name] ?? '')
          .trim()
          .replace(/\s+/g, ' ')}\n`,
    )
    .join('');
  const canonicalPath = path.split('/').map(encode).join('/');
  const request = [method, canonicalPath, canonicalQuery, canonicalHeaders, signedHeaders.join(';'), payload];
  const toSign = [
    ALGORITHM,
    date,
    scope.join('/'),
    createHash('sha256').update(request.join('\n')).digest('hex'),
  ];
  const key = scope.reduce<string | Buffer>(
    (secret, part) => hmac(secret, part),
    `AWS4${account.secretAccessKey}`,
  );
  const wanted = hmac(key, toSign.join('\n'));
  const signature = Buffer.from(field('Signature'), 'hex');
  if (signature.length !== wanted.length || !timingSafeEqual(signature, wanted))
    throw new S3Error(
      403,
      'SignatureDoesNotMatch',
      'The signature does not match the request and the secret key.',
    );

  const age = Date.now() - Date.parse(date.replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5'));
  if (isPresigned) {
    const expires = Number(field('Expires'));
    if (!(expires <= MAX_EXPIRES_SECONDS && age <= expires * 1000 && age > -MAX_SKEW_MS))
      throw new S3Error(403, 'AccessDenied', 'Request has expired.');
  } else if (!(Math.abs(age) <= MAX_SKEW_MS))
    throw new S3Error(
      403,
      'RequestTimeTooSkewed',
      'The clocks of the client and the server differ too much.',
    );
  return { account, payload };
}

/** Parses an Authorization header into the parameters of a presigned URL. */
function authorization(header = ''): Map<string, string> {
  const [algorithm = '', ...fields] = header.split(/[ ,]+/);
  const pairs = fields.map(
    (field) => [`X-Amz-${field.split('=')[0]}`, field.slice(field.indexOf('=') + 1)] as const,
  );
  return new Map([['X-Amz-Algorithm', algorithm], ...pairs]);
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
