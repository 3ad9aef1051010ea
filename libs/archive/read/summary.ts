import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { crc32, inflateRaw } from 'node:zlib';
import { z } from 'zod';
import { MANIFEST_NAME } from '../entries.js';
import {
  checkManifest,
  invalid,
  leftOutSchema,
  manifestSchema,
  MAX_MANIFEST_BYTES,
  scopeSchema,
  sum,
  tableSchema,
} from '../manifest.js';
import { count, list } from '../schema-parts.js';
import { pickJson, type Shape } from './pick-json.js';
import type { RangeSource } from './range-source.js';
import { type EntryRecord, extent, LAST_RECORD_BYTES, lastRecord } from './zip-records.js';

const inflate = promisify(inflateRaw);

/** The members of a manifest that describe the archive, without those that only restores need. */
const summarySchema = manifestSchema
  .pick({
    formatVersion: true,
    product: true,
    daemonId: true,
    takenAt: true,
    server: true,
    schemas: true,
    extensions: true,
    warnings: true,
    shrunk: true,
    notCompared: true,
    totals: true,
  })
  .extend({
    scope: scopeSchema.omit({ excluded: true }).optional(),
    leftOut: list(leftOutSchema),
    tables: list(
      tableSchema
        .pick({ schema: true, name: true, rows: true, partitionOf: true })
        .extend({ entries: list(z.object({ length: count })) })
        .transform(({ entries, ...table }) => ({
          ...table,
          bytes: sum(entries.map(({ length }) => length)),
        })),
    ),
    /** Their number. */
    sequences: z.array(z.null()).transform(({ length }) => length),
    /** Whether the archive holds `schema.sql`. */
    definitions: z
      .null()
      .optional()
      .transform((definitions) => definitions !== undefined),
  });

export type ManifestSummary = z.infer<typeof summarySchema>;

const SUMMARY_SHAPE: Shape = {
  format: 'value',
  formatVersion: 'value',
  product: { name: 'value', version: 'value' },
  daemonId: 'value',
  takenAt: 'value',
  server: {
    version: 'value',
    encoding: 'value',
    database: 'value',
    systemIdentifier: 'value',
    databaseOid: 'value',
  },
  schemas: ['value'],
  scope: {
    schemas: ['value'],
    excludeSchemas: ['value'],
    excludeTables: ['value'],
    excludeTableRows: ['value'],
  },
  tables: [
    {
      schema: 'value',
      name: 'value',
      rows: 'value',
      partitionOf: [{ schema: 'value', name: 'value' }],
      entries: [{ length: 'value' }],
    },
  ],
  sequences: [null],
  extensions: [{ name: 'value', version: 'value' }],
  definitions: null,
  totals: {
    tables: 'value',
    entities: 'value',
    bytes: 'value',
    largeObjects: { objects: 'value', bytes: 'value' },
  },
  warnings: ['value'],
  shrunk: {
    archive: 'value',
    takenAt: 'value',
    total: { before: 'value', after: 'value' },
    tables: [{ schema: 'value', name: 'value', before: 'value', after: 'value' }],
  },
  notCompared: 'value',
  leftOut: [{ kind: 'value', what: 'value', why: 'value', count: 'value' }],
};

/** A manifest that was found and not read yet. */
export interface FoundManifest {
  /** Bytes, uncompressed. Reading it takes up to twice this memory. */
  length: number;
  /** @throws Failure ARCHIVE_INVALID, or the source's error */
  read(): Promise<ManifestSummary>;
}

/**
 * Finds the manifest of an archive by one read of its end. Reading the manifest takes one more, however many entries
 * there are. Neither checks the rest of the archive: verifications do.
 * @throws Failure ARCHIVE_INVALID, or the source's error
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
  const compressed = await buffer(source.read(start, start + record.compressedLength));
  const text = record.method === 0 ? compressed : await decompressed(compressed, record.length);
  if (text.length !== record.length || crc32(text) !== record.crc32)
    throw invalid(`its ${MANIFEST_NAME} is damaged`);
  return checkManifest(await pickJson(text, SUMMARY_SHAPE), summarySchema);
}

/** Inflates at most `length` bytes. */
async function decompressed(compressed: Buffer, length: number): Promise<Buffer> {
  try {
    return await inflate(compressed, { maxOutputLength: Math.max(length, 1) });
  } catch (error) {
    throw invalid(`its ${MANIFEST_NAME} is damaged`, error);
  }
}
