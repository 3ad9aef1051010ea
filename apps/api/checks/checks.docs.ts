import type { Finding, RepositoryCheck, RestorePreview } from '#contracts';
import { repositoryCheck, restorePreview } from '#contracts/schemas';
import { status } from '../daemons/daemons.docs.js';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const result = answer('RepositoryCheck', repositoryCheck);
const plan = answer('RestorePlan', restorePreview);

const target = { database: 'shop', host: 'db1', port: '5432', systemIdentifier: '7580012345678901234' };
const lacking: Finding = {
  kind: 'backupRights',
  level: 'problem',
  message: 'It may not read public.orders.',
  statements: ['GRANT pg_read_all_data TO "snapshotd_worker";'],
};
const checked: RepositoryCheck = {
  repository: 'default',
  checkedOn: 1795342797368,
  target,
  version: '18.4',
  tls: 'TLSv1.3, TLS_AES_256_GCM_SHA384',
  role: 'snapshotd_worker',
  bytes: 98304,
  estimatedRows: 785,
  tables: { total: 1, largest: [{ schema: 'public', name: 'orders', bytes: 98304, estimatedRows: 785 }] },
  omissions: [],
  findings: [
    { kind: 'reachable', level: 'ok', message: 'PostgreSQL answers at db1:5432/shop.', statements: [] },
    lacking,
  ],
};
const planned: RestorePreview = {
  repository: 'default',
  plannedOn: 1795342797368,
  archive: 'https://s3.amazonaws.com/archives/BackupDaemonJob1-107249060429899939.zip',
  takenOn: 1795342700000,
  summary: 'Replaces 1 table, 785 rows, in shop at db1:5432',
  target,
  rows: { archive: 785, estimatedNow: 790 },
  tables: {
    total: 1,
    listed: [{ schema: 'public', name: 'orders', into: 'public.orders', archive: 785, estimatedNow: 790 }],
  },
  suspended: { total: 0, listed: [] },
  columns: { total: 0, listed: [] },
  omissions: [],
  warnings: [],
  estimatedSeconds: 1,
  refusals: [],
};
const WAITS = {
  what: 'No worker has answered within 20 seconds. Ask for the status by its id: that of an ended check has the result.',
  schema: status,
  example: {
    id: 'check-1795342797368-0f8fad5b',
    type: 'CHECK',
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
  },
};
const FAILED = { 502: 'The worker could not make the check. The reason says why.' };

export const check: RouteDescription = {
  name: 'checkRepository',
  summary: 'Checks whether a repository can be backed up, restored and recovered',
  details:
    'A worker connects and finds out: the version, TLS, the rights for backups, restores in place and recovers with the statements that grant them, the size, the contents that a backup would omit, event triggers, needed locks, the difference of the clocks, and the rights on the bucket, which it tries with a small object that it removes. A worker that is busy with other jobs answers, too.',
  example: {},
  answers: { 200: { what: 'The result.', schema: result, example: checked }, 202: WAITS },
  errors: FAILED,
};

export const newestCheck: RouteDescription = {
  name: 'newestCheck',
  summary: 'Shows the newest check of a repository',
  details: 'Each worker checks the default repository at its start.',
  answers: { 200: { what: 'The result.', schema: result, example: checked } },
  errors: { 404: 'The repository does not exist, or was not checked yet.' },
};

export const restorePlan: RouteDescription = {
  name: 'planRestore',
  summary: 'Shows what a restore would do now, and changes nothing',
  details:
    "Takes the body of `startRestoreDaemon`. Names the target, the rows of each table in the archive and now, the objects that the restore suspends and reinstates, differing columns, the omissions of the archive, an estimate of the time, and every reason that can be found for which the restore would be refused now. Nothing is counted: the present rows are PostgreSQL's estimate.",
  example: { url: planned.archive },
  answers: { 200: { what: 'The plan.', schema: plan, example: planned }, 202: WAITS },
  errors: FAILED,
};
