export * from './errors.js';
export * from './poll.js';
export * from './product.js';
export * from './retry.js';
export * from './semaphore.js';
export * from './task-group.js';
export * from './timeout.js';
