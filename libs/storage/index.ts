export * from './archive-address.js';
export * from './multipart-upload.js';
export * from './object-store.js';
export * from './part-size.js';
export * from './try-rights.js';
