import { createHash, randomUUID } from 'node:crypto';
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { S3Error, write } from './body.js';

/** The key and the type of an object, sent ahead of its body. */
export interface Description {
  key: string;
  contentType: string;
}

interface Piece {
  file: string;
  bytes: number;
}

export interface KeptObject extends Description {
  etag: string;
  bytes: number;
  /** The folder of its pieces. */
  folder: string;
  pieces: Piece[];
}

export interface MultipartUpload extends Description {
  id: string;
  began: Date;
  parts: Map<number, Piece & { md5: string }>;
}

/**
 * A bucket on disk. `data/` has a folder for each upload, with its parts as files. `objects/` has a file for each
 * object, which names its folder. So completing an upload copies nothing, and one rename makes the object visible.
 */
export class BucketFolder {
  private readonly objects = new Map<string, KeptObject>();
  private readonly uploads = new Map<string, MultipartUpload>();

  /** Creates the bucket or opens it. Removes incomplete multipart uploads and the leftovers of a crash. */
  constructor(private readonly folder: string) {
    for (const name of ['objects', 'data']) mkdirSync(join(folder, name), { recursive: true });
    for (const name of readdirSync(join(folder, 'objects')).filter((file) => file.endsWith('.json'))) {
      const object = readRecord(join(folder, 'objects', name));
      this.objects.set(object.key, object);
    }
    const kept = new Set([...this.objects.values()].map((object) => object.folder));
    for (const name of readdirSync(join(folder, 'data')))
      if (!kept.has(name)) rmSync(join(folder, 'data', name), { recursive: true });
  }

  get(key: string): KeptObject | undefined {
    return this.objects.get(key);
  }

  /** The time of the object, in whole seconds like all times of S3. */
  modified({ key }: KeptObject): Date {
    return wholeSeconds(statSync(this.recordOf(key)).mtimeMs);
  }

  /** Lists the objects with a prefix, ordered by the bytes of their keys. */
  list(prefix: string): KeptObject[] {
    return sorted(this.objects, prefix);
  }

  listUploads(prefix: string): MultipartUpload[] {
    return sorted(this.uploads, prefix);
  }

  async *read({ folder, pieces }: KeptObject, start: number, end: number): AsyncGenerator<Buffer> {
    let at = 0;
    for (const { file, bytes } of pieces) {
      const [from, to] = [Math.max(start - at, 0), Math.min(end - at, bytes)];
      at += bytes;
      if (from >= to) continue;
      const path = join(this.folder, 'data', folder, file);
      yield* createReadStream(path, {
        start: from,
        end: to - 1,
        highWaterMark: 1 << 20,
      }) as AsyncIterable<Buffer>;
    }
  }

  async put(description: Description, body: AsyncIterable<Buffer>): Promise<KeptObject> {
    const folder = randomUUID();
    mkdirSync(join(this.folder, 'data', folder));
    try {
      const { bytes, md5 } = await write(body, join(this.folder, 'data', folder, '1'));
      return this.keep({ ...description, folder, etag: md5, pieces: [{ file: '1', bytes }] });
    } catch (error) {
      await this.removeData(folder);
      throw error;
    }
  }

  delete(key: string): void {
    const object = this.objects.get(key);
    if (object === undefined) return;
    rmSync(this.recordOf(key));
    this.objects.delete(key);
    void this.removeData(object.folder);
  }

  begin(description: Description): MultipartUpload {
    const upload = { ...description, id: randomUUID(), began: wholeSeconds(Date.now()), parts: new Map() };
    mkdirSync(join(this.folder, 'data', upload.id));
    this.uploads.set(upload.id, upload);
    return upload;
  }

  /** @returns the part's MD5. @throws S3Error NoSuchUpload */
  async putPart(key: string, id: string, number: number, body: AsyncIterable<Buffer>): Promise<string> {
    const upload = this.upload(key, id);
    const file = randomUUID();
    const path = join(this.folder, 'data', id, file);
    const { bytes, md5 } = await write(body, path).catch(async (error: unknown) => {
      await rm(path, { force: true });
      this.upload(key, id); // If the upload was aborted meanwhile, its folder is gone.
      throw error;
    });
    this.upload(key, id);
    const before = upload.parts.get(number);
    upload.parts.set(number, { file, bytes, md5 });
    if (before !== undefined) await rm(join(this.folder, 'data', id, before.file), { force: true });
    return md5;
  }

  /** @throws S3Error */
  complete(key: string, id: string, wanted: { number: number; md5: string }[]): KeptObject {
    const upload = this.upload(key, id);
    const parts = wanted.map(({ number, md5 }, index) => {
      const part = upload.parts.get(number);
      if (part?.md5 !== md5)
        throw new S3Error(400, 'InvalidPart', `Part ${number} is missing or has another ETag.`);
      if (number <= (wanted[index - 1]?.number ?? 0))
        throw new S3Error(400, 'InvalidPartOrder', 'The parts are not in order.');
      return part;
    });
    const md5s = Buffer.concat(parts.map(({ md5 }) => Buffer.from(md5, 'hex')));
    const etag = `${createHash('md5').update(md5s).digest('hex')}-${parts.length}`;
    const pieces = parts.map(({ file, bytes }) => ({ file, bytes }));
    const object = this.keep({ key, contentType: upload.contentType, folder: id, etag, pieces });
    this.uploads.delete(id);
    for (const { file } of upload.parts.values())
      if (!pieces.some((piece) => piece.file === file)) rmSync(join(this.folder, 'data', id, file));
    return object;
  }

  /** @throws S3Error NoSuchUpload */
  async abort(key: string, id: string): Promise<void> {
    this.upload(key, id);
    this.uploads.delete(id);
    await this.removeData(id);
  }

  /** @throws S3Error NoSuchUpload */
  private upload(key: string, id: string): MultipartUpload {
    const upload = this.uploads.get(id);
    if (upload?.key !== key)
      throw new S3Error(404, 'NoSuchUpload', 'The upload does not exist. It was completed or aborted.');
    return upload;
  }

  /** Makes an object visible and removes the one that it replaces. */
  private keep(described: Omit<KeptObject, 'bytes'>): KeptObject {
    const bytes = described.pieces.reduce((sum, piece) => sum + piece.bytes, 0);
    const object = { ...described, bytes };
    const record = this.recordOf(object.key);
    writeFileSync(`${record}.new`, JSON.stringify(object));
    renameSync(`${record}.new`, record);
    const before = this.objects.get(object.key);
    this.objects.set(object.key, object);
    if (before !== undefined) void this.removeData(before.folder);
    return object;
  }

  /** The file of an object, named by a hash because keys may be longer than file names. */
  private recordOf(key: string): string {
    return join(this.folder, 'objects', `${createHash('sha256').update(key).digest('hex')}.json`);
  }

  private removeData(folder: string): Promise<void> {
    return rm(join(this.folder, 'data', folder), { recursive: true, force: true, maxRetries: 5 });
  }
}

function sorted<Thing extends Description>(things: Map<string, Thing>, prefix: string): Thing[] {
  return [...things.values()]
    .filter(({ key }) => key.startsWith(prefix))
    .toSorted((one, other) => Buffer.compare(Buffer.from(one.key), Buffer.from(other.key)));
}

function wholeSeconds(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}

/** Reads an object's file. @throws Error that names the file: skipping it would remove the object's bytes */
function readRecord(file: string): KeptObject {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as KeptObject;
  } catch (error) {
    throw new Error(`${file} is damaged. Remove it or replace it by the right one.`, {
      cause: error,
    });
  }
}
