import { z } from 'zod';
import { count, daemonStatus, text } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

export const status = answer('DaemonStatus', daemonStatus);
const list = answer('DaemonStatuses', z.strictObject({ daemons: z.array(status), total: count }));
const events = answer(
  'StatusEvents',
  text.describe('Server-sent events of the type `status`, whose data is a DaemonStatus.'),
);

const backupUrl = 'https://s3.amazonaws.com/archives/BackupDaemonJob1-107249060429899939.zip';
const started = {
  id: '1',
  type: 'BACKUP',
  status: 'STARTED',
  errorMessage: null,
  progresssMessage: 'Starting...',
  progresssCurrent: 0,
  progresssTotal: 0,
  errorDetails: null,
  backupUrl: null,
  totalTimeMS: 0,
  startedBy: 'admin@example.org',
  startedOn: 1795342797368,
};
const completed = {
  ...started,
  status: 'COMPLETED',
  progresssMessage: 'Finished: BACKUP',
  progresssCurrent: 863,
  progresssTotal: 863,
  backupUrl,
  totalTimeMS: 170,
};
const MISSING = { 404: 'There is no daemon of this id.' };
const IDEMPOTENT = {
  headers: {
    'Idempotency-Key':
      '1 to 255 visible characters. Calls that are repeated with the same key start one job.',
  },
  errors: {
    409: 'An earlier call with this Idempotency-Key is still starting its job. Try again in a moment.',
    422: 'This Idempotency-Key has already started job 1, by another call or with another body. Use a different key for each start.',
  },
};

export const startBackup: RouteDescription = {
  name: 'startBackup',
  summary: 'Starts a backup',
  example: {},
  ...IDEMPOTENT,
  answers: { 201: { what: 'The job waits for a worker.', schema: status, example: started } },
};

export const startRestore: RouteDescription = {
  name: 'startRestore',
  summary: 'Starts a restore, which replaces all rows of the tables by those of the archive',
  details:
    '`url` is the `backupUrl` of an archive, or its file name below `S3_PREFIX`. `backupFirst` first makes an archive of the present rows. `allowExtraTables` leaves tables unchanged that the archive does not contain. `allowExtraColumns` accepts columns that the archive does not hold: they get their defaults, and must be nullable or have one. `dropColumns` leaves out the values of columns that the tables no longer have. `fireEventTriggers` lets event triggers fire on the statements of a restore; without it, a restore fails if the role of the worker cannot disable them. `keepViolations` accepts rows that violate foreign keys and checks, which are then reinstated as NOT VALID and named. `removeExtraLargeObjects` removes the large objects that the archive does not hold; without it they stay, and the last message counts them. `tables` restricts the restore to these tables. `intoSchemas` restores beside the live tables, and with `create` creates tables there like the live ones, or from the archive if the live ones are gone or their columns changed; both leave all large objects unchanged. `otherDatabase` accepts an archive of another database. `intoDatabase` builds a new database of this name on the same server from the archive alone, and changes no other; it appears when it is complete. `createRoles` then creates missing roles without the right to log in, with their other rights only if `privilegedRoles` is set; `noOwner` gives everything to the role of the worker instead. `swap` exchanges the new database with that of the repository, which is kept as `<name>_before_<UTC time>`: readers go on until then, and lose their sessions at that moment. It is refused if the old database has replication slots, subscriptions, prepared transactions, sessions that the role of the worker may not end, or another owner than the new one, unless `accept` names them: `replicationSlots`, `subscriptions`, `preparedTransactions`, `foreignSessions`, `otherOwner`. Then the new database keeps its own name.',
  example: { url: backupUrl, backupFirst: true },
  ...IDEMPOTENT,
  answers: {
    201: {
      what: 'The job waits for a worker.',
      schema: status,
      example: { ...started, id: '2', type: 'RESTORE', backupUrl, safetyBackupUrl: null },
    },
  },
};

export const startVerify: RouteDescription = {
  name: 'startVerify',
  summary: 'Starts a verification, which reads a whole archive and changes nothing',
  details:
    'The level `READ` compares every byte with the manifest and needs no database. `FIT` also checks that a restore in place would be accepted. `DRILL` recovers the archive into a scratch database, compares it and drops it; an API key needs the scope `everything` for it. For `FIT`, `allowExtraTables`, `allowExtraColumns`, `dropColumns`, `fireEventTriggers` and `otherDatabase` mean the same as for a restore.',
  example: { url: backupUrl, level: 'READ' },
  ...IDEMPOTENT,
  answers: {
    201: {
      what: 'The job waits for a worker.',
      schema: status,
      example: { ...started, id: '3', type: 'VERIFY', backupUrl },
    },
  },
};

export const listDaemons: RouteDescription = {
  name: 'listDaemons',
  summary: 'Lists the jobs in the queue, newest first',
  answers: {
    200: {
      what: 'A page of the statuses, and their total.',
      schema: list,
      example: { daemons: [completed], total: 1 },
    },
  },
};

export const showDaemon: RouteDescription = {
  name: 'showDaemon',
  summary: 'Shows the status of a job',
  path: { id: '1' },
  answers: { 200: { what: 'The status.', schema: status, example: completed } },
  errors: MISSING,
};

export const followDaemon: RouteDescription = {
  name: 'followDaemon',
  summary: 'Streams the status of a job',
  details: 'Begins with the present status, and ends after the one in which the job has ended.',
  path: { id: '1' },
  answers: {
    200: {
      what: 'The statuses.',
      schema: events,
      contentType: 'text/event-stream',
      example: `event: status\ndata: ${JSON.stringify(completed)}\n\n`,
    },
  },
  errors: MISSING,
};

export const terminateDaemon: RouteDescription = {
  name: 'terminateDaemon',
  summary: 'Terminates a job: a waiting one never starts, a running one is rolled back',
  path: { id: '1' },
  answers: { 204: { what: 'The job is being terminated, or had ended already.' } },
  errors: MISSING,
};
