import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** An error answer of the object store, or a connection that breaks before or after the store carries out the request. */
export type S3Fault =
  | { status: number; code: string; message?: string; headers?: Record<string, string> }
  | 'cut request'
  | 'lost answer'
  | 'cut answer';

export const S3_FAULTS: S3Fault[] = [
  { status: 500, code: 'InternalError' },
  { status: 503, code: 'SlowDown' },
  { status: 429, code: 'TooManyRequests' },
  'cut request',
  'lost answer',
  'cut answer',
];

/** The store's sentences that the product shows. */
const SENTENCES: Record<string, string> = { AccessDenied: 'Access Denied' };

/** The S3 name of a request's operation. */
export type S3Operation =
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'ListMultipartUploads'
  | 'HeadObject'
  | 'GetObject'
  | 'PutObject'
  | 'DeleteObject'
  | 'ListObjects'
  | 'Other';

export interface S3Request {
  operation: S3Operation;
  /** Path, query and range: the same when the request is retried. */
  what: string;
  /** The size of its body. */
  bytes: number;
}

/** A proxy of an object store that fails like real ones. */
export class S3Proxy {
  /** All requests so far. */
  readonly requests: S3Request[] = [];
  /** Decides how each request fails; the request waits for it. */
  fault: (request: S3Request) => S3Fault | undefined | Promise<S3Fault | undefined> = () => undefined;

  /** The version ID for each answer, as in a bucket with versioning. */
  versionId: (request: S3Request) => string | undefined = () => undefined;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async to(target: string): Promise<S3Proxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new S3Proxy(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on('request', (incoming, outgoing) => {
      proxy.pass(incoming, outgoing, new URL(target)).catch(() => outgoing.destroy());
    });
    return proxy;
  }

  /**
   * Makes each request fail the first time that it is sent.
   * @param faultOf gives the fault by the request's number
   * @returns a function that gives the number of failed requests
   */
  failEachOnce(faultOf: (number: number) => S3Fault | undefined): () => number {
    const failed = new Set<string>();
    this.fault = ({ operation, what }) => {
      // A multipart upload that starts over has a new ID but counts as the same.
      const asked = `${operation} ${what.replace(/uploadId=[^& ]*/, '')}`;
      if (failed.has(asked)) return undefined;
      failed.add(asked);
      return faultOf(failed.size);
    };
    return () => failed.size;
  }

  /** The number of requests for an operation. */
  count(operation: S3Operation): number {
    return this.requests.filter((one) => one.operation === operation).length;
  }

  private async pass(incoming: IncomingMessage, outgoing: ServerResponse, target: URL): Promise<void> {
    const { method = '', url = '', headers } = incoming;
    const length = Number(headers['content-length'] ?? 0);
    const what: S3Request = {
      operation: operationOf(method, url),
      what: `${url} ${headers.range ?? ''}`,
      bytes: length,
    };
    this.requests.push(what);
    const fault = await this.fault(what);
    if (fault === 'cut request') {
      for (let read = 0; read < length / 2;) {
        const [bytes] = (await once(incoming, 'data')) as [Buffer];
        read += bytes.length;
      }
      outgoing.destroy();
      return;
    }
    const body = await buffer(incoming);
    if (typeof fault === 'object') {
      outgoing.writeHead(fault.status, {
        'content-type': 'application/xml',
        'x-amz-request-id': 'fault',
        ...fault.headers,
      });
      outgoing.end(
        method === 'HEAD'
          ? undefined
          : `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${fault.code}</Code><Message>${fault.message ?? SENTENCES[fault.code] ?? 'Please reduce your request rate.'}</Message><RequestId>fault</RequestId></Error>`,
      );
      return;
    }
    const onward = request({ host: target.hostname, port: target.port, method, path: url, headers });
    onward.end(body);
    const [answer] = (await once(onward, 'response')) as [IncomingMessage];
    const bytes = await buffer(answer);
    if (fault === 'lost answer') {
      outgoing.destroy();
      return;
    }
    if (fault === 'cut answer' && bytes.length === 0) {
      outgoing.socket?.write('HTTP/1.1 200', () => outgoing.destroy());
      return;
    }
    const versionId = this.versionId(what);
    outgoing.writeHead(answer.statusCode ?? 500, {
      ...answer.headers,
      ...(versionId !== undefined && { 'x-amz-version-id': versionId }),
    });
    if (fault === 'cut answer') {
      outgoing.flushHeaders();
      outgoing.write(bytes.subarray(0, bytes.length / 2), () => outgoing.destroy());
    } else outgoing.end(bytes);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}

function operationOf(method: string, url: string): S3Operation {
  const { pathname, searchParams } = new URL(url, 'http://s3');
  const [, , ...key] = pathname.split('/');
  if (method === 'POST' && searchParams.has('uploads')) return 'CreateMultipartUpload';
  if (method === 'GET' && searchParams.has('uploads')) return 'ListMultipartUploads';
  if (method === 'PUT' && searchParams.has('partNumber')) return 'UploadPart';
  if (method === 'POST' && searchParams.has('uploadId')) return 'CompleteMultipartUpload';
  if (method === 'DELETE' && searchParams.has('uploadId')) return 'AbortMultipartUpload';
  if (key.join('') === '') return method === 'GET' ? 'ListObjects' : 'Other';
  const plain: Record<string, S3Operation> = {
    HEAD: 'HeadObject',
    GET: 'GetObject',
    PUT: 'PutObject',
    DELETE: 'DeleteObject',
  };
  return plain[method] ?? 'Other';
}
