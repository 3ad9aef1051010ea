export * from './entry-names.js';
export { ENTRY_MEMORY_BYTES, type EntryWriter } from './entry-writer.js';
export * from './manifest.js';
export * from './range-source.js';
export * from './reader.js';
export * from './slots.js';
export * from './summary.js';
export * from './writer.js';
