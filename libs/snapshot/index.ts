export * from './archives.js';
export * from './backup.js';
export * from './journal.js';
export * from './restore.js';
export * from './verification-record.js';
export * from './verify.js';
