export { DATABASE_NAME, dataEntryName, DEFINITIONS_NAME, ENTRY_MEMORY_BYTES } from './entries.js';
export {
  createManifest,
  invalid,
  type Manifest,
  type ManifestEntry,
  type ManifestFacts,
  type ManifestFile,
  type ManifestSqlFile,
  type ManifestTable,
  type ManifestType,
  parseManifest,
  sqlFilesOf,
} from './manifest.js';
export type { RangeSource } from './read/range-source.js';
export * from './read/reader.js';
export * from './read/summary.js';
export type { EntryWriter } from './write/entry-writer.js';
export * from './write/writer.js';
