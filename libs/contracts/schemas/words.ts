/** The words that fields of the HTTP contract may have. */
export const DAEMON_TYPES = ['BACKUP', 'RESTORE', 'VERIFY', 'DROP', 'CHECK'] as const;
export type DaemonType = (typeof DAEMON_TYPES)[number];

export const DAEMON_STATES = ['STARTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED'] as const;
export type DaemonState = (typeof DAEMON_STATES)[number];

/** The repository of the settings. Calls that name none mean this one. */
export const DEFAULT_REPOSITORY = 'default';

/** The names of repositories. A name is also a folder in the bucket. */
export const REPOSITORY_NAME = /^[a-z0-9][a-z0-9_-]{0,39}$/;

/** The scopes of API keys. Each includes the one before. */
export const KEY_SCOPES = ['read', 'start', 'everything'] as const;
export type KeyScope = (typeof KEY_SCOPES)[number];

/** How much a verification proves, in rising order. READ is part of the others. */
export const VERIFICATION_LEVELS = ['READ', 'FIT', 'DRILL'] as const;
export type VerificationLevel = (typeof VERIFICATION_LEVELS)[number];

/** The steps of a scheduled run after its backup. */
export const AFTER_BACKUP = ['nothing', ...VERIFICATION_LEVELS] as const;
export type AfterBackup = (typeof AFTER_BACKUP)[number];

/** The obstacles to a swap of databases, by the names that a request accepts them with. */
export const SWAP_OBSTACLES = [
  'replicationSlots',
  'subscriptions',
  'preparedTransactions',
  'foreignSessions',
  'otherOwner',
] as const;
export type SwapObstacleCode = (typeof SWAP_OBSTACLES)[number];

/** The words of 0.1.0 for FIT and DRILL, which requests may still use. */
export const FORMER_AFTER_BACKUP = ['verify', 'restoreDrill'] as const;
export type AfterBackupWord = AfterBackup | (typeof FORMER_AFTER_BACKUP)[number];

/** The subjects of the findings of a check. */
export const FINDING_KINDS = [
  'reachable',
  'identity',
  'version',
  'tls',
  'role',
  'backupRights',
  'restoreRights',
  'recoverRights',
  'contents',
  'omissions',
  'eventTriggers',
  'locks',
  'clock',
  'bucketPut',
  'bucketGet',
  'bucketList',
  'bucketAbort',
  'bucketDelete',
  'bucketLock',
] as const;
export const FINDING_LEVELS = ['ok', 'warning', 'problem'] as const;
