export {
  Checksums,
  DATABASE_NAME,
  dataEntryName,
  DEFINITIONS_NAME,
  ENTRY_MEMORY_BYTES,
  LARGE_OBJECTS_NAME,
  largeObjectsEntryName,
  ROLES_NAME,
} from './entries.js';
export {
  createManifest,
  invalid,
  largeObjectFiles,
  type Manifest,
  type ManifestConfiguration,
  type ManifestConfigurationTable,
  type ManifestEntry,
  type ManifestFacts,
  type ManifestFile,
  type ManifestLargeObjects,
  type ManifestTable,
  type ManifestType,
  otherFiles,
  parseManifest,
} from './manifest.js';
export * from './read/csv.js';
export type { ManifestSqlFile } from './sql-files.js';
export type { RangeSource } from './read/range-source.js';
export * from './read/reader.js';
export * from './read/summary.js';
export type { EntryWriter } from './write/entry-writer.js';
export * from './write/writer.js';
