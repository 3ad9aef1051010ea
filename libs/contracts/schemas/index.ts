export * from './archive.js';
export * from './daemon-status.js';
export * from './fields.js';
export * from './omission.js';
export * from './schedule.js';
export * from './shrinkage.js';
export * from './verification.js';
export * from './worker.js';
