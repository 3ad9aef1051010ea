export * from './archive.js';
export * from './daemon-status.js';
export * from './errors.js';
export * from './key-scope.js';
export * from './product.js';
export * from './progress.js';
export * from './retries.js';
export * from './schedule.js';
