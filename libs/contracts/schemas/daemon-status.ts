import { z } from 'zod';
import { count, text, time } from './fields.js';
import { repositoryCheck, restorePreview } from './check.js';
import { omittedThings } from './omission.js';
import { shrinkage } from './shrinkage.js';
import { verificationProof } from './verification.js';
import { DAEMON_STATES, DAEMON_TYPES } from './words.js';

export const daemonStatus = z.strictObject({
  id: text,
  type: z.enum(DAEMON_TYPES),
  status: z.enum(DAEMON_STATES),
  /** One line. */
  errorMessage: text
    .nullable()
    .describe(
      'The failure and the next step; null unless FAILED. For sessions and the scope everything it includes the full message of PostgreSQL, which may contain values of rows.',
    ),
  progresssMessage: text.describe(
    'The present activity. It also tells what a job waits for that no worker has: a worker, or the jobs that run or wait before it.',
  ),
  progresssCurrent: count.describe(
    'Entities done; the last tenth stands for the work after the last entity.',
  ),
  /** See progressTotal in libs/common. */
  progresssTotal: count.describe('Entities plus a tenth; 0 until it is known.'),
  errorDetails: text
    .nullable()
    .describe('The original message of the object store or PostgreSQL, then the stack.'),
  backupUrl: text
    .nullable()
    .describe(
      'The address of the archive. A backup has it when it is COMPLETED, a restore and a verification always.',
    ),
  totalTimeMS: count.describe('From startedOn until now, or until the end.'),
  /** The email of the administrator who started it. */
  startedBy: text,
  /** When it was requested. */
  startedOn: time,
  safetyBackupUrl: text
    .nullable()
    .exactOptional()
    .describe('The address of the archive that a restore with `backupFirst` has made first.'),
  database: text
    .exactOptional()
    .describe('The database that a restore with `intoDatabase` has made, by its name after the restore.'),
  keptDatabase: text
    .exactOptional()
    .describe(
      'The name of the old database after a restore with `swap`. It holds the rows that were written since the backup.',
    ),
  omissions: z
    .array(omittedThings)
    .exactOptional()
    .describe('The contents that the archive omits, by kind. Missing if it omits nothing.'),
  shrunk: shrinkage
    .exactOptional()
    .describe(
      'The rows that a backup lacks compared with an earlier archive, if they are more than SHRINK_WARNING_PERCENT.',
    ),
  verification: verificationProof.exactOptional().describe('What a completed verification has proven.'),
  warnings: z.array(text).exactOptional().describe('Sentences. Missing if there is none.'),
  repository: text.exactOptional().describe('Its repository; missing for `default`.'),
  check: repositoryCheck.exactOptional().describe('The result of a completed check. Lists omit it.'),
  restorePlan: restorePreview
    .exactOptional()
    .describe('The result of a completed preview of a restore. Lists omit it.'),
});

/**
 * The answer of `daemonStatus`: one run of a job. The field names, their order and the triple s are a contract with
 * existing clients.
 */
export type DaemonStatus = z.infer<typeof daemonStatus>;
