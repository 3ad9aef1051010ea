import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { crc32, inflateRaw } from 'node:zlib';
import { Failure } from '#common';
import { MANIFEST_NAME } from '../entry-names.js';
import { invalid, type ManifestSummary, MAX_MANIFEST_BYTES, parseSummary } from '../manifest.js';
import type { RangeSource } from './range-source.js';
import { type EntryRecord, extent, LAST_RECORD_BYTES, lastRecord } from './zip-records.js';

const inflate = promisify(inflateRaw);

const run = promisify(execFile);

/** A manifest that is longer is parsed beside everything else. */
const LONG_BYTES = 1024 * 1024;
const PARSE_MEMORY_MB = 512;
/** How long that may take: time to start, and what a slow machine needs for each byte. */
const PARSE_WITHIN_MS = 5_000;
const PARSED_BYTES_PER_MS = 10_000;
const MAX_SUMMARY_BYTES = 16 * 1024 * 1024;

/** What the process answers. */
export type ParsedBeside = { summary: ManifestSummary } | { message: string; hint: string };

/** A manifest that was found and not read yet. */
export interface FoundManifest {
  /** Bytes, unpacked: what reading it costs in memory, several times over. */
  length: number;
  /** @throws Failure ARCHIVE_INVALID, or what the source fails with */
  read(): Promise<ManifestSummary>;
}

/**
 * Finds out what an archive is by two reads, of its end and of its manifest, however many entries it holds. Checks
 * nothing else: whether the archive is whole is for a verification to say.
 * @throws Failure ARCHIVE_INVALID, or what the source fails with
 */
export async function findManifest(source: RangeSource): Promise<FoundManifest> {
  const tail = await buffer(source.read(Math.max(0, source.length - LAST_RECORD_BYTES), source.length));
  const record = lastRecord(tail, MANIFEST_NAME);
  if (record === undefined) throw invalid(`it does not end as a zip whose last entry is ${MANIFEST_NAME}`);
  if (Math.max(record.length, record.compressedLength) > MAX_MANIFEST_BYTES)
    throw invalid(`its ${MANIFEST_NAME} is too long`);
  if (record.offset + extent(record) > source.length) throw invalid('it points outside itself');
  return { length: record.length, read: () => readManifest(source, record) };
}

async function readManifest(source: RangeSource, record: EntryRecord): Promise<ManifestSummary> {
  const start = record.offset + 30 + Buffer.byteLength(record.name);
  const packed = await buffer(source.read(start, start + record.compressedLength));
  const text = record.method === 0 ? packed : await unpacked(packed, record.length);
  if (text.length !== record.length || crc32(text) !== record.crc32)
    throw invalid(`its ${MANIFEST_NAME} is damaged`);
  return text.length > LONG_BYTES ? parsedBeside(text) : parseSummary(text.toString('utf8'));
}

/** In a process of its own, because JSON.parse knows no bounds and cannot be stopped. */
async function parsedBeside(text: Buffer): Promise<ManifestSummary> {
  const running = run(
    process.execPath,
    [`--max-old-space-size=${PARSE_MEMORY_MB}`, join(__dirname, 'summary-process.js')],
    {
      env: {},
      timeout: PARSE_WITHIN_MS + Math.ceil(text.length / PARSED_BYTES_PER_MS),
      killSignal: 'SIGKILL',
      maxBuffer: MAX_SUMMARY_BYTES,
    },
  );
  running.child.stdin?.on('error', () => undefined); // It was ended: the promise tells.
  running.child.stdin?.end(text);
  let parsed: ParsedBeside;
  try {
    parsed = JSON.parse((await running).stdout) as ParsedBeside;
  } catch (error) {
    // It could not be started, or failed by itself: that says nothing of the archive.
    const { syscall, code } = error as { syscall?: string; code?: unknown };
    if (syscall !== undefined || typeof code === 'number') throw error;
    throw invalid(`its ${MANIFEST_NAME} takes more time or memory than any honest one`, error);
  }
  if ('summary' in parsed) return parsed.summary;
  throw new Failure('ARCHIVE_INVALID', 'permanent', parsed.message, { hint: parsed.hint });
}

/** Nothing longer is made than the record says. */
async function unpacked(packed: Buffer, length: number): Promise<Buffer> {
  try {
    return await inflate(packed, { maxOutputLength: Math.max(length, 1) });
  } catch (error) {
    throw invalid(`its ${MANIFEST_NAME} is damaged`, error);
  }
}
