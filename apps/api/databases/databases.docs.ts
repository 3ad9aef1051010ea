import { z } from 'zod';
import { daemonStatus, keptDatabase } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const status = answer('DaemonStatus', daemonStatus);
const databases = answer(
  'KeptDatabases',
  z.strictObject({ databases: z.array(answer('KeptDatabase', keptDatabase)) }),
);

const name = 'shop_before_20261128_190512';

export const listDatabases: RouteDescription = {
  name: 'listDatabases',
  summary: 'Lists the databases that restores with `swap` have kept, newest first',
  details:
    'From the records of the workers. A database that somebody drops or renames without snapshotd stays in the list until you drop it here.',
  answers: {
    200: {
      what: 'The databases.',
      schema: databases,
      example: {
        databases: [{ name, of: 'shop', owner: 'shop_owner', keptOn: 1795342797368, daemonId: '7' }],
      },
    },
  },
};

export const dropDatabase: RouteDescription = {
  name: 'dropDatabase',
  summary: 'Starts a job that drops a database that a restore with `swap` has kept',
  details:
    'The job fails and drops nothing if the database has another owner or comment than after the swap, or if it has sessions, replication slots, subscriptions or prepared transactions. This cannot be undone.',
  path: { name },
  answers: {
    202: {
      what: 'The job waits for a worker.',
      schema: status,
      example: {
        id: '8',
        type: 'DROP',
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
    },
  },
  errors: { 404: 'No swap of this installation keeps a database of this name.' },
};
