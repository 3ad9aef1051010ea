import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { bodyOf, S3Error } from './body.js';
import { BucketFolder, type KeptObject } from './bucket-folder.js';
import { type Account, authenticate } from './signature.js';

const LONGEST_KEY = 1024;
const LARGEST_PAGE = 1000;
const MAX_PARTS = 10_000;
const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** Of the list of parts, in bytes. */
const LONGEST_LIST = 4 * 1024 * 1024;
/** Characters that XML cannot contain. */
const NOT_IN_XML = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;

interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
  bucket: BucketFolder;
  key: string;
  body: AsyncIterable<Buffer>;
}

/** The content of an XML document. An array becomes several elements of the same name. */
type Content = string | number | boolean | undefined | Content[] | { [name: string]: Content };

interface Operation {
  /** The right that the account needs. */
  action: string;
  /** @returns nothing if the answer has no body or is already sent */
  answer: (call: Call) => Promise<Content | void> | Content | void;
}

/** The operations by method, kind of target, and the query parameters that distinguish them. */
const OPERATIONS: Record<string, Operation> = {
  'HEAD bucket': { action: 's3:ListBucket', answer: () => {} },
  'GET bucket list-type': { action: 's3:ListBucket', answer: listObjects },
  'GET bucket uploads': { action: 's3:ListBucketMultipartUploads', answer: listUploads },
  'PUT object': { action: 's3:PutObject', answer: putObject },
  'GET object': { action: 's3:GetObject', answer: getObject },
  'HEAD object': { action: 's3:GetObject', answer: getObject },
  'DELETE object': {
    action: 's3:DeleteObject',
    answer: ({ response, bucket, key }) => {
      response.statusCode = 204;
      bucket.delete(key);
    },
  },
  'POST object uploads': {
    action: 's3:PutObject',
    answer: (call) => {
      const { id } = call.bucket.begin(description(call));
      return { InitiateMultipartUploadResult: { Key: call.key, UploadId: id } };
    },
  },
  'PUT object partNumber uploadId': { action: 's3:PutObject', answer: uploadPart },
  'POST object uploadId': { action: 's3:PutObject', answer: completeUpload },
  'DELETE object uploadId': {
    action: 's3:AbortMultipartUpload',
    answer: ({ response, bucket, key, query }) => {
      response.statusCode = 204;
      return bucket.abort(key, query.get('uploadId') ?? '');
    },
  },
};
/** Query parameters that do not distinguish operations. */
const OPTIONS = /^(x-id|x-amz-.*|prefix|max-keys|continuation-token|response-content-disposition)$/i;

/** Answers S3 requests for the buckets in a folder. */
export class Requests {
  private readonly buckets = new Map<string, BucketFolder>();

  constructor(
    private readonly folder: string,
    private readonly accounts: readonly Account[],
  ) {
    mkdirSync(folder, { recursive: true });
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory() && BUCKET_NAME.test(entry.name)) this.createBucket(entry.name);
      else process.emitWarning(`${join(folder, entry.name)} is not a bucket and is ignored.`);
  }

  /** Creates a bucket, or opens an existing one. */
  createBucket(name: string): void {
    if (!BUCKET_NAME.test(name))
      throw new S3Error(400, 'InvalidBucketName', `${name} is not a valid name of a bucket.`);
    if (!this.buckets.has(name)) this.buckets.set(name, new BucketFolder(join(this.folder, name)));
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('x-amz-request-id', randomUUID());
    const send = (document: Content) =>
      response.setHeader('content-type', 'application/xml').end(xml(document));
    try {
      const document = await this.carryOut(request, response);
      if (document !== undefined) send(document);
      else response.end();
    } catch (error) {
      if (response.headersSent) return void response.destroy();
      const { status, code, message } =
        error instanceof S3Error ? error : new S3Error(500, 'InternalError', String(error));
      response.statusCode = status;
      send({ Error: { Code: code, Message: message } });
    }
  }

  private async carryOut(request: IncomingMessage, response: ServerResponse): Promise<Content | void> {
    const { method = '', url = '' } = request;
    const [encodedPath = '', search] = url.split('?', 2);
    const query = new URLSearchParams(search);
    let path: string;
    try {
      path = decodeURIComponent(encodedPath);
    } catch {
      throw new S3Error(400, 'InvalidURI', 'The address cannot be decoded.');
    }
    const { account, payload } = authenticate(request, { path, query }, this.accounts);
    const [, name = '', key = ''] = /^\/([^/]*)\/?(.*)$/s.exec(path) ?? [];
    const parameters = [...query.keys()].filter((parameter) => !OPTIONS.test(parameter));
    const operation = [method, key === '' ? 'bucket' : 'object', ...parameters.toSorted()].join(' ');

    if (operation === 'PUT bucket') {
      allow(account, 's3:CreateBucket');
      return this.createBucket(name);
    }
    const { action, answer } = OPERATIONS[operation] ?? {};
    if (action === undefined || answer === undefined || 'x-amz-copy-source' in request.headers)
      throw new S3Error(501, 'NotImplemented', `This server does not implement: ${operation}.`);
    allow(account, action);
    const bucket = this.buckets.get(name);
    if (bucket === undefined) throw new S3Error(404, 'NoSuchBucket', `There is no bucket ${name}.`);
    if (Buffer.byteLength(key) > LONGEST_KEY)
      throw new S3Error(400, 'KeyTooLongError', 'The key is too long.');
    if (NOT_IN_XML.test(key))
      throw new S3Error(400, 'InvalidURI', 'The key has characters that XML cannot contain.');
    return answer({ request, response, query, bucket, key, body: bodyOf(request, payload) });
  }
}

function allow({ actions }: Account, action: string): void {
  if (actions?.includes(action) === false) throw new S3Error(403, 'AccessDenied', 'Access Denied');
}

function description({ request, key }: Call): { key: string; contentType: string } {
  return { key, contentType: request.headers['content-type'] ?? 'application/octet-stream' };
}

function listObjects({ query, bucket }: Call): Content {
  const size = Math.min(Number(query.get('max-keys') ?? LARGEST_PAGE), LARGEST_PAGE);
  const behind = Buffer.from(query.get('continuation-token') ?? '', 'base64url');
  const rest = bucket
    .list(query.get('prefix') ?? '')
    .filter(({ key }) => Buffer.compare(Buffer.from(key), behind) > 0);
  const page = rest.slice(0, size);
  const last = rest.length > page.length ? page.at(-1) : undefined;
  return {
    ListBucketResult: {
      KeyCount: page.length,
      MaxKeys: size,
      IsTruncated: last !== undefined,
      NextContinuationToken: last && Buffer.from(last.key).toString('base64url'),
      Contents: page.map((object) => ({
        Key: object.key,
        LastModified: bucket.modified(object).toISOString(),
        ETag: `"${object.etag}"`,
        Size: object.bytes,
      })),
    },
  };
}

function listUploads({ query, bucket }: Call): Content {
  const uploads = bucket.listUploads(query.get('prefix') ?? '');
  return {
    ListMultipartUploadsResult: {
      // All in one page: there are never a thousand incomplete uploads.
      IsTruncated: false,
      Upload: uploads.map(({ key, id, began }) => ({
        Key: key,
        UploadId: id,
        Initiated: began.toISOString(),
      })),
    },
  };
}

async function putObject(call: Call): Promise<void> {
  const { etag } = await call.bucket.put(description(call), call.body);
  call.response.setHeader('etag', `"${etag}"`);
}

async function uploadPart({ response, query, bucket, key, body }: Call): Promise<void> {
  const number = Number(query.get('partNumber'));
  if (!Number.isInteger(number) || number < 1 || number > MAX_PARTS)
    throw new S3Error(400, 'InvalidArgument', `Part numbers go from 1 to ${MAX_PARTS}.`);
  const md5 = await bucket.putPart(key, query.get('uploadId') ?? '', number, body);
  response.setHeader('etag', `"${md5}"`);
}

async function completeUpload({ request, query, bucket, key, body }: Call): Promise<Content> {
  if (!(Number(request.headers['content-length']) <= LONGEST_LIST))
    throw new S3Error(400, 'MalformedXML', 'The list of parts is too long.');
  const parts = [...(await text(body)).matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
    number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
    md5: /<ETag>(?:"|&quot;)?(\w+)/.exec(part)?.[1] ?? '',
  }));
  if (parts.length === 0) throw new S3Error(400, 'MalformedXML', 'The request names no part.');
  const { etag } = bucket.complete(key, query.get('uploadId') ?? '', parts);
  return { CompleteMultipartUploadResult: { Key: key, ETag: `"${etag}"` } };
}

async function getObject({ request, response, query, bucket, key }: Call): Promise<void> {
  const object = bucket.get(key);
  if (object === undefined) throw new S3Error(404, 'NoSuchKey', 'There is no such object.');
  const wanted = request.headers['if-match'];
  if (wanted !== undefined && wanted !== '*' && wanted.replaceAll('"', '') !== object.etag)
    throw new S3Error(412, 'PreconditionFailed', 'The object has another ETag.');
  const range = rangeOf(request.headers.range, object);
  const [start, end] = range ?? [0, object.bytes];
  response.writeHead(range === undefined ? 200 : 206, {
    'accept-ranges': 'bytes',
    'content-length': end - start,
    'content-type': object.contentType,
    etag: `"${object.etag}"`,
    'last-modified': bucket.modified(object).toUTCString(),
    ...(range && { 'content-range': `bytes ${start}-${end - 1}/${object.bytes}` }),
    ...(query.has('response-content-disposition') && {
      'content-disposition': query.get('response-content-disposition') ?? '',
    }),
  });
  if (request.method === 'HEAD') response.end();
  else await pipeline(Readable.from(bucket.read(object, start, end), { objectMode: false }), response);
}

/** Parses a Range header. @returns start and end, exclusive; undefined for the whole object. @throws S3Error InvalidRange */
function rangeOf(header: string | undefined, { bytes }: KeptObject): [number, number] | undefined {
  const [, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? [];
  if (from === '' && to === '') return undefined;
  const start = from === '' ? Math.max(bytes - Number(to), 0) : Number(from);
  const end = from === '' || to === '' ? bytes : Math.min(Number(to) + 1, bytes);
  if (start >= end) throw new S3Error(416, 'InvalidRange', 'The object has no such bytes.');
  return [start, end];
}

function xml(content: Content): string {
  if (Array.isArray(content)) return content.map(xml).join('');
  if (typeof content !== 'object')
    return String(content).replace(/[<>&"\r\n\t]/g, (character) => `&#${character.charCodeAt(0)};`);
  return Object.entries(content)
    .flatMap(([name, value]) =>
      [value].flat().map((one) => (one === undefined ? '' : `<${name}>${xml(one)}</${name}>`)),
    )
    .join('');
}
