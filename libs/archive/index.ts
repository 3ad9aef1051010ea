export * from './entry-names.js';
export { ENTRY_MEMORY_BYTES, type EntryWriter } from './write/entry-writer.js';
export * from './manifest.js';
export * from './read/range-source.js';
export * from './read/reader.js';
export * from './read/summary.js';
export * from './write/writer.js';
