export * from './database-identity.js';
export * from './errors.js';
export * from './format.js';
export * from './grouped.js';
export * from './job-status.js';
export * from './omissions.js';
export * from './retry.js';
export * from './semaphore.js';
export * from './task-group.js';
export * from './timing.js';
export * from './verification-level.js';

/** Name and version of this program. A test compares them with package.json. */
export const PRODUCT = { name: 'snapshotd', version: '0.1.0' } as const;
