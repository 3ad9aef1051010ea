import { z } from 'zod';
import { DAEMON_STATES, DAEMON_TYPES, type DaemonStatus } from '#contracts';
import { answer, count, text, time } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const status = answer(
  'DaemonStatus',
  z.strictObject({
    id: text,
    type: z.enum(DAEMON_TYPES),
    status: z.enum(DAEMON_STATES),
    errorMessage: text
      .nullable()
      .describe(
        'What went wrong and what to do; null unless FAILED. For the scope everything, and in a session, with all that PostgreSQL said, which may hold values of rows.',
      ),
    progresssMessage: text,
    progresssCurrent: count.describe('Entities done, and in the last tenth the finishing work.'),
    progresssTotal: count.describe('Entities and a tenth more; 0 until it is known.'),
    errorDetails: text
      .nullable()
      .describe("The object store's or PostgreSQL's own words first, then the stack."),
    backupUrl: text
      .nullable()
      .describe('Where the archive is: of a backup when it is COMPLETED, of a restore and a verify always.'),
    totalTimeMS: count.describe('From startedOn until now, or until the end.'),
    startedBy: text,
    startedOn: time,
    safetyBackupUrl: text
      .nullable()
      .exactOptional()
      .describe('Where the archive is that was made before a restore, of one that was to make it.'),
  }) satisfies z.ZodType<DaemonStatus>,
);
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
  progresssMessage: 'Finished: BACKUP (left out: definitions)',
  progresssCurrent: 863,
  progresssTotal: 863,
  backupUrl,
  totalTimeMS: 170,
};
const MISSING = { 404: 'There is no daemon of this id.' };
const IDEMPOTENT = {
  headers: {
    'Idempotency-Key':
      '1 to 255 visible characters. However often the call is sent with the same key, there is one daemon.',
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
  answers: { 201: { what: 'The daemon waits for a worker.', schema: status, example: started } },
};

export const startRestore: RouteDescription = {
  name: 'startRestore',
  summary: 'Starts a restore: all rows of the tables become those of the archive',
  details:
    '`url` is a backupUrl of the bucket, or the name of a file below its prefix. `backupFirst` makes an archive of what is there first. `allowExtraTables` leaves tables alone that the archive does not hold. `fireEventTriggers` lets event triggers fire on the statements of a restore, which is refused otherwise if the role of the worker cannot keep them from it. `keepViolations` lets rows violate foreign keys and checks, which then come back as NOT VALID and are named. `tables` restores these only. `intoSchemas` loads beside the live tables, and with `create` makes tables there like the live ones. `otherDatabase` takes an archive of another database, which is refused otherwise.',
  example: { url: backupUrl, backupFirst: true },
  ...IDEMPOTENT,
  answers: {
    201: {
      what: 'The daemon waits for a worker.',
      schema: status,
      example: { ...started, id: '2', type: 'RESTORE', backupUrl, safetyBackupUrl: null },
    },
  },
};

export const startVerify: RouteDescription = {
  name: 'startVerify',
  summary: 'Starts a verification, which reads a whole archive and changes nothing',
  details:
    '`restoreDrill` also restores the rows into copies of the tables that are gone afterwards; an API key needs the scope `everything` for it. `allowExtraTables`, `fireEventTriggers` and `otherDatabase` are those of a restore.',
  example: { url: backupUrl, restoreDrill: true },
  ...IDEMPOTENT,
  answers: {
    201: {
      what: 'The daemon waits for a worker.',
      schema: status,
      example: { ...started, id: '3', type: 'VERIFY', backupUrl },
    },
  },
};

export const listDaemons: RouteDescription = {
  name: 'listDaemons',
  summary: 'The daemons that are remembered, newest first',
  answers: {
    200: {
      what: 'A page of the statuses, and how many there are.',
      schema: list,
      example: { daemons: [completed], total: 1 },
    },
  },
};

export const showDaemon: RouteDescription = {
  name: 'showDaemon',
  summary: 'How a daemon gets on',
  path: { id: '1' },
  answers: { 200: { what: 'Its status.', schema: status, example: completed } },
  errors: MISSING,
};

export const followDaemon: RouteDescription = {
  name: 'followDaemon',
  summary: 'How a daemon gets on, as it happens',
  details: 'Begins with the status as it is, and ends after the one in which the daemon has ended.',
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
  summary: 'Ends a daemon: one that waits never starts, one that runs is rolled back',
  path: { id: '1' },
  answers: { 204: { what: 'It was told to end, or has ended before.' } },
  errors: MISSING,
};
