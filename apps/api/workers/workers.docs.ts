import { z } from 'zod';
import type { RepositoryIdentity, WorkerRemarkKind, WorkerView } from '#contracts';
import { answer, count, text, time } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const KINDS = [
  'SUPERUSER',
  'MORE_RIGHTS',
  'BACKS_UP_ONLY',
  'POSTGRES_AWAY',
  'OTHER_DATABASE',
  'IDENTITY_UNKNOWN',
] as const satisfies WorkerRemarkKind[];

const database = answer(
  'DatabaseIdentity',
  z.strictObject({
    systemIdentifier: text.nullable().describe("The cluster's; null where PostgreSQL refuses to tell."),
    databaseOid: count,
    databaseName: text,
  }),
);
const workers = answer(
  'Workers',
  z.strictObject({
    workers: z.array(
      z.strictObject({
        id: text,
        host: text,
        version: text,
        role: text.nullable().describe('Its role in PostgreSQL; null until it was connected.'),
        superuser: z.boolean().nullable(),
        identity: database.nullable().describe('Where its REPOSITORY_URL leads.'),
        takesJobs: z.boolean(),
        warnings: z.array(
          z.strictObject({
            kind: z.enum(KINDS),
            level: z.enum(['warning', 'information']),
            message: text,
          }),
        ),
        since: time,
        lastBeatOn: time,
      }),
    ),
  }) satisfies z.ZodType<{ workers: WorkerView[] }>,
);
const identity = answer(
  'RepositoryIdentity',
  z.strictObject({
    identity: database.nullable().describe('Null until a worker has recorded it.'),
    predecessors: z.array(database).describe('Where the repository was before, the latest first.'),
    recordedOn: time.nullable(),
    problem: text.nullable().describe('Why no worker believes what is recorded.'),
  }) satisfies z.ZodType<RepositoryIdentity>,
);

const shop = { systemIdentifier: '7580012345678901234', databaseOid: 16384, databaseName: 'shop' };
const recorded = { identity: shop, predecessors: [], recordedOn: 1795342797368, problem: null };

export const listWorkers: RouteDescription = {
  name: 'listWorkers',
  summary: 'The workers whose heartbeat was seen within 15 seconds',
  answers: {
    200: {
      what: 'The workers, the longest running first.',
      schema: workers,
      example: {
        workers: [
          {
            id: '0f8fad5b-d9cb-469f-a165-70867728950e',
            host: 'backup-1',
            version: '0.1.0',
            role: 'snapshotd_worker',
            superuser: false,
            identity: shop,
            takesJobs: true,
            warnings: [],
            since: 1795342797368,
            lastBeatOn: 1795342902177,
          },
        ],
      },
    },
  },
};

export const showIdentity: RouteDescription = {
  name: 'showIdentity',
  summary: 'The database that the workers work for',
  answers: { 200: { what: 'What is recorded.', schema: identity, example: recorded } },
};

export const acceptIdentity: RouteDescription = {
  name: 'acceptIdentity',
  summary: 'Makes another database the one that the workers work for',
  details:
    'After a move or a failover to another cluster, workers whose REPOSITORY_URL leads there take no jobs until it is accepted. With `moved`, which is the default, archives of where the repository was are still its own; without, they need `otherDatabase`.',
  example: { ...shop, databaseOid: 16999 },
  answers: {
    200: {
      what: 'It is recorded; workers see it within five seconds.',
      schema: identity,
      example: { ...recorded, identity: { ...shop, databaseOid: 16999 }, predecessors: [shop] },
    },
  },
};
