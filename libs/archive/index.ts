export {
  Checksums,
  DATABASE_NAME,
  dataEntryName,
  DEFINITIONS_NAME,
  ENTRY_MEMORY_BYTES,
  ROLES_NAME,
} from './entries.js';
export {
  createManifest,
  invalid,
  type Manifest,
  type ManifestConfiguration,
  type ManifestConfigurationTable,
  type ManifestEntry,
  type ManifestFacts,
  type ManifestFile,
  type ManifestTable,
  type ManifestType,
  otherFiles,
  parseManifest,
} from './manifest.js';
export type { ManifestSqlFile } from './sql-files.js';
export type { RangeSource } from './read/range-source.js';
export * from './read/reader.js';
export * from './read/summary.js';
export type { EntryWriter } from './write/entry-writer.js';
export * from './write/writer.js';
