import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';

/** An error answer: its HTTP status and its code in S3. */
export class S3Error extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export interface Written {
  bytes: number;
  /** MD5, in hexadecimal. */
  md5: string;
}

/**
 * Reads a request's body, and fails at its end if it is not the body that the client signed.
 * @param payload the body's hash in the signature
 * @throws S3Error; Error if the client disconnects
 */
export async function* bodyOf(request: IncomingMessage, payload: string): AsyncGenerator<Buffer> {
  const isHash = /^[0-9a-f]{64}$/.test(payload);
  const { 'x-amz-checksum-crc32': declared, ...headers } = request.headers;
  const unknown = Object.keys(headers).find((name) => /^x-amz-checksum-(crc|sha)/.test(name));
  if (unknown !== undefined || !(isHash || payload === 'UNSIGNED-PAYLOAD'))
    throw new S3Error(501, 'NotImplemented', `This server cannot check ${unknown ?? payload}.`);
  const sha256 = createHash('sha256');
  let crc = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    if (isHash) sha256.update(chunk);
    if (declared !== undefined) crc = crc32(chunk, crc);
    yield chunk;
  }
  if (isHash && sha256.digest('hex') !== payload)
    throw new S3Error(400, 'XAmzContentSHA256Mismatch', 'The body does not match its signature.');
  const found = Buffer.from([crc >>> 24, crc >>> 16, crc >>> 8, crc]).toString('base64');
  if (declared !== undefined && declared !== found)
    throw new S3Error(400, 'BadDigest', 'The body does not match its checksum.');
}

/** Writes a body to a file. After a failure the file is incomplete. */
export async function write(body: AsyncIterable<Buffer>, file: string): Promise<Written> {
  const md5 = createHash('md5');
  let bytes = 0;
  const counted = async function* () {
    for await (const chunk of body) {
      bytes += chunk.length;
      md5.update(chunk);
      yield chunk;
    }
  };
  await pipeline(counted, createWriteStream(file));
  return { bytes, md5: md5.digest('hex') };
}
