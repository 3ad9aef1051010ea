export * from './daemon-status.js';
export * from './errors.js';
export * from './progress.js';
