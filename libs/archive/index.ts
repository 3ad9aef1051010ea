export * from './entry-names.js';
export * from './manifest.js';
export * from './range-source.js';
export * from './reader.js';
export * from './writer.js';
