import { z } from 'zod';
import { databaseIdentity, missingWorker, repositoryIdentity, worker } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

/** A request to accept a database. */
export const identityRequest = z.strictObject({
  systemIdentifier: z.string().regex(/^\d{1,20}$/, 'must be the digits that a worker reports'),
  databaseOid: z
    .int()
    .min(1)
    .max(2 ** 32 - 1),
  databaseName: z
    .string()
    .max(63)
    // JSON can hold these characters, PostgreSQL's JSON cannot.
    .regex(/^[^\p{Cc}\p{Cs}]+$/u, 'must be the name that a worker reports'),
  /** Whether the repository has moved there. Then archives of the former database remain its own. */
  moved: z.boolean().default(true),
});

answer('DatabaseIdentity', databaseIdentity);
const workers = answer(
  'Workers',
  z.strictObject({
    workers: z.array(worker),
    missing: z
      .array(missingWorker)
      .describe(
        'Workers of the last 24 hours that nobody has stopped, and that no later worker has replaced.',
      ),
  }),
);
const identity = answer('RepositoryIdentity', repositoryIdentity);

const shop = { systemIdentifier: '7580012345678901234', databaseOid: 16384, databaseName: 'shop' };
const recorded = { identity: shop, predecessors: [], recordedOn: 1795342797368, problem: null };

export const listWorkers: RouteDescription = {
  name: 'listWorkers',
  summary: 'Lists the workers with a heartbeat within the last 12 seconds, and those that are missing',
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
            node: '24.15.0',
            pgDump: { version: '18.3', source: 'bundled' },
            jobs: ['17'],
            concurrency: 2,
            repositories: null,
            target: { host: 'db.example.org', port: 5432, database: 'shop', user: 'snapshotd_worker' },
            role: 'snapshotd_worker',
            superuser: false,
            identity: shop,
            takesJobs: true,
            warnings: [],
            since: 1795342797368,
            lastBeatOn: 1795342902177,
          },
        ],
        missing: [
          {
            id: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
            host: 'backup-2',
            version: '0.1.0',
            lastBeatOn: 1795342880413,
          },
        ],
      },
    },
  },
};

export const showIdentity: RouteDescription = {
  name: 'showIdentity',
  summary: 'Shows the database that the workers back up',
  answers: { 200: { what: 'The recorded identity.', schema: identity, example: recorded } },
};

export const acceptIdentity: RouteDescription = {
  name: 'acceptIdentity',
  summary: 'Accepts another database as the one that the workers back up',
  details:
    'After a move or a failover to another cluster, workers whose REPOSITORY_URL points there take no jobs until you accept it. With `moved`, the default, archives of the former database can be restored as before; without it, they need `otherDatabase`.',
  example: { ...shop, databaseOid: 16999 },
  answers: {
    200: {
      what: 'The new identity. Workers see it within five seconds.',
      schema: identity,
      example: { ...recorded, identity: { ...shop, databaseOid: 16999 }, predecessors: [shop] },
    },
  },
};
