import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';
import { S3Error } from './error.js';

export interface Written {
  bytes: number;
  /** MD5, in hexadecimal. */
  md5: string;
}

/**
 * Reads a request's body, and fails at its end if it is not the body that the client signed.
 * @param payload what the signature says of the body
 * @throws S3Error; Error when the client goes away
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
    throw new S3Error(400, 'XAmzContentSHA256Mismatch', 'The body is not the one that was signed.');
  const found = Buffer.from([crc >>> 24, crc >>> 16, crc >>> 8, crc]).toString('base64');
  if (declared !== undefined && declared !== found)
    throw new S3Error(400, 'BadDigest', 'The body does not have the checksum that was sent with it.');
}

/** Writes a body to a file. What is there after a failure is of no use. */
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
