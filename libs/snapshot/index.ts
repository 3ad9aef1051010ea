export * from './archives.js';
export * from './backup.js';
export * from './examine-repository.js';
export * from './journal.js';
export type { Repository } from './repository-session.js';
export * from './restore.js';
export * from './verification-record.js';
export * from './verify.js';
