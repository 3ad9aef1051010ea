import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { crc32 } from 'node:zlib';
import { fromBufferPromise } from 'yauzl';
import { ZipStream } from './zip-stream.js';

const modifiedAt = new Date('2026-01-02T23:04:05.678Z');
const KiB = 1024;
const MiB = 1024 * KiB;

/** Adds an entry and waits until it is written. */
function added(zip: ZipStream, name: string, content: Buffer): Promise<void> {
  return new Promise((resolve) => zip.add(name, content, () => undefined, resolve));
}

async function zipped(content: Buffer, compressionLevel = 1): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const zip = new ZipStream(async (bytes) => void pieces.push(Buffer.from(bytes)), {
    compressionLevel,
    modifiedAt,
  });
  await added(zip, 'a', content);
  await zip.end();
  return Buffer.concat(pieces);
}

test.each([0, 1])('at level %i nothing of an entry is held once it is written', async (compressionLevel) => {
  const zip = new ZipStream(async () => undefined, { compressionLevel, modifiedAt });
  const content = randomBytes(2 * MiB);
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const held = () => {
    collectGarbage();
    return process.memoryUsage().arrayBuffers;
  };
  await added(zip, 'first', content);
  const before = held();
  for (let number = 0; number < 40; number++) await added(zip, `${number}`, Buffer.from(content));
  // Node frees buffers on another thread, after the collection.
  for (const deadline = Date.now() + 10_000; held() - before >= 8 * MiB && Date.now() < deadline;)
    await new Promise((resolve) => setTimeout(resolve, 50));
  expect(held() - before).toBeLessThan(8 * MiB);
  await zip.end();
});

test('yazl looks through no entry that is written, and lists all at the end', async () => {
  const pieces: Buffer[] = [];
  const zip = new ZipStream(async (bytes) => void pieces.push(bytes), { compressionLevel: 1, modifiedAt });
  const { zip: yazl } = zip as unknown as { zip: { entries: unknown[] } };
  for (let number = 0; number < 1_000; number++) {
    await added(zip, `${number}`, Buffer.from('x'));
    expect(yazl.entries).toEqual([]);
  }
  await zip.end();
  expect((await fromBufferPromise(Buffer.concat(pieces))).entryCount).toBe(1_000);
});

test('the CRC-32 of an entry is that of its content, at any length', async () => {
  for (const length of [0, 1, 1023, 1024, 100 * KiB]) {
    const content = randomBytes(length);
    expect((await zipped(content)).readUInt32LE(14)).toBe(crc32(content));
  }
});
