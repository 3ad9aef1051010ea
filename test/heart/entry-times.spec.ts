import { execFileSync } from 'node:child_process';

const modifiedAt = new Date('2026-01-02T23:04:05.678Z');

/** Writes a zip in a process in another time zone, and prints it in base64. */
const ZIP_IN_ZONE = `
  const { ZipStream } = require('./dist/libs/archive/write/zip-stream.js');
  const pieces = [];
  const zip = new ZipStream(async (bytes) => void pieces.push(bytes), { compressionLevel: 1, modifiedAt: new Date(${modifiedAt.getTime()}) });
  zip.add('a', Buffer.from('x'), () => {}, () => zip.end().then(() => console.log(Buffer.concat(pieces).toString('base64'))));`;

test('the times of entries do not depend on the time zone of the process', () => {
  const [utc, ...others] = ['UTC', 'Asia/Tokyo', 'America/New_York'].map((TZ) =>
    Buffer.from(
      execFileSync(process.execPath, ['-e', ZIP_IN_ZONE], { env: { TZ }, encoding: 'utf8' }),
      'base64',
    ),
  );
  expect(others).toEqual([utc, utc]);
  // DOS time and date of the first local header: 23:04:04 on 2026-01-02.
  expect([utc?.readUInt16LE(10), utc?.readUInt16LE(12)]).toEqual([
    (23 << 11) | (4 << 5) | 2,
    (46 << 9) | (1 << 5) | 2,
  ]);
});
