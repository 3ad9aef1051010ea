export * from './daemon-job.js';
export * from './daemon-queue.js';
export * from './job-failure.js';
export * from './job-journal.js';
export * from './queue-unavailable.js';
export * from './queue.module.js';
export * from './schedule-queue.js';
export * from './termination.js';
