export * from './backup/backup.js';
export * from './backup/backup-request.js';
export * from './shared/examine-repository.js';
export * from './shared/journal.js';
export type { Repository } from './shared/repository-session.js';
export * from './recover/recover.js';
export * from './restore/restore.js';
export * from './verify/verification-record.js';
export * from './verify/verify.js';
