export * from './archive.js';
export * from './daemon-status.js';
export * from './database-identity.js';
export * from './key-scope.js';
export * from './progress.js';
export * from './schedule.js';
export * from './worker.js';
