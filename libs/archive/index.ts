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
  type ManifestMembership,
  type ManifestRole,
  type ManifestTable,
  type ManifestType,
  otherFiles,
  parseManifest,
} from './manifest.js';
export * from './read/csv.js';
export type { ManifestDatabase } from './database-schema.js';
export type { ManifestSqlFile, ManifestStatement } from './sql-files.js';
export * from './read/file-source.js';
export type { RangeSource } from './read/range-source.js';
export * from './read/reader.js';
export * from './read/summary.js';
export type { EntryWriter } from './write/entry-writer.js';
export * from './write/writer.js';
