// Types only, so that the command line loads no zod. The schemas are #contracts/schemas.
export type { Archive, ArchiveFacts, ArchiveVerification } from './schemas/archive.js';
export type { Finding, RepositoryCheck, RestorePreview, RestoreTarget } from './schemas/check.js';
export type { DaemonStatus } from './schemas/daemon-status.js';
export type { KeptDatabaseView } from './schemas/kept-database.js';
export type { OmittedThings } from './schemas/omission.js';
export type {
  PruningPlanView,
  RecoverStep,
  Retention,
  ScheduleRequest,
  ScheduleView,
} from './schemas/schedule.js';
export type { RepositoryChanges, RepositoryView } from './schemas/repository.js';
export type { ShrinkageView } from './schemas/shrinkage.js';
export type {
  DatabaseIdentity,
  DatabaseTarget,
  MissingWorker,
  PgDumpView,
  RepositoryIdentity,
  WorkerRemark,
  WorkerView,
} from './schemas/worker.js';
export type { VerificationProof } from './schemas/verification.js';
export * from './schemas/words.js';
export * from './journal.js';
