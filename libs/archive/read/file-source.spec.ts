import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { FileSource } from './file-source.js';

const folder = mkdtempSync(join(tmpdir(), 'snapshotd-file-'));
afterAll(() => rmSync(folder, { recursive: true }));

function fileOf(name: string, bytes: Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

test('reads ranges, longer than a chunk too', async () => {
  const bytes = Buffer.alloc(700_000, 'abcdefg');
  const source = await FileSource.open(fileOf('long', bytes));
  expect(source.length).toBe(700_000);
  const [all, middle] = await Promise.all([buffer(source.read(0, 700_000)), buffer(source.read(5, 300_001))]);
  expect(all.equals(bytes)).toBe(true);
  expect(middle.equals(bytes.subarray(5, 300_001))).toBe(true);
  await source.close();
});

test.each([
  ['grows', (path: string) => appendFileSync(path, 'more')],
  ['is written again', (path: string) => writeFileSync(path, 'ABCDEFGHIJ')],
  ['is cut', (path: string) => writeFileSync(path, '')],
])('fails when the file %s', async (_how, change) => {
  const path = fileOf('changing', Buffer.from('abcdefghij'));
  utimesSync(path, 1, 1);
  const source = await FileSource.open(path);
  expect(String(await buffer(source.read(2, 4)))).toBe('cd');
  change(path);
  await expect(buffer(source.read(2, 4))).rejects.toThrow(`${path} changed while it was read.`);
  await source.close();
});

test('refuses everything but a file with bytes', async () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  await expect(FileSource.open(folder)).rejects.toThrow('is a directory.');
  await expect(FileSource.open(pipe)).rejects.toThrow('is no regular file.');
  await expect(FileSource.open(fileOf('empty', Buffer.alloc(0)))).rejects.toThrow('is empty.');
  await expect(FileSource.open(join(folder, 'missing'))).rejects.toThrow('Cannot read');
});
