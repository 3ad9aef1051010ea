import { z } from 'zod';
import { archive, count, text } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';
import { page } from '../http/validation.js';
import { repositoryName } from '../repositories/repository-request.js';

export const listQuery = z.strictObject({ ...page, repository: repositoryName.optional() });

const details = answer(
  'ArchiveDetails',
  archive.extend({
    product: z.strictObject({ name: text, version: text }).nullable(),
    serverVersion: text.nullable(),
    database: text.nullable(),
    schemas: z.array(text).nullable(),
    tables: z
      .array(z.strictObject({ schema: text, name: text, rows: count, bytes: count }))
      .nullable()
      .describe('With the bytes of their CSV.'),
    sequences: count.nullable().describe('The number of sequences.'),
    extensions: z.array(z.strictObject({ name: text, version: text })).nullable(),
    leftOut: z
      .array(
        z.strictObject({
          what: text,
          why: text,
          kind: text.optional().describe('Missing in older archives, as is the count.'),
          count: z.int().optional().describe('The number of things.'),
        }),
      )
      .nullable(),
    warnings: z.array(text).nullable().describe('The warnings of the backup.'),
    definitions: z.boolean().nullable().describe('Whether the archive contains schema.sql.'),
  }),
);
/** An archive with the content of its manifest. Fields are null if the manifest cannot be read. */
export type ArchiveDetails = z.infer<typeof details>;
const archives = answer(
  'Archives',
  z.strictObject({ backups: z.array(answer('Archive', archive)), total: count }),
);

const name = 'BackupDaemonJob1-107249060429899939.zip';
const one = {
  name,
  url: `https://s3.amazonaws.com/archives/${name}`,
  repository: 'default',
  createdOn: 1795342797368,
  bytes: 51234,
  takenOn: 1795342796101,
  entities: 785,
  daemonId: '1',
  formatVersion: 2,
  omissions: [
    {
      kind: 'foreignTableRows',
      count: 1,
      what: 'rows of repository.remote',
      why: 'a foreign table: its rows are on another server',
    },
  ],
  warnings: [],
  problem: null,
  verifiedOn: 1795342890000,
  verifiedBy: 'READ',
  restorable: true,
  verification: {
    level: 'FIT',
    durationMs: 1840,
    proven: [
      'Every byte of the archive matches its manifest, and its large objects are in order.',
      'A restore in place would be accepted: tables, columns and rights fit.',
    ],
    notProven: ['No row was loaded: the level DRILL loads all of them.'],
    reached: 'DRILL',
  },
};
const MISSING = { 404: 'There is no archive of this name.' };
const STORE = {
  502: 'Access Denied: the credentials lack s3:ListBucket on the bucket archives. Grant s3:ListBucket, then start again.',
};

export const listBackups: RouteDescription = {
  name: 'listBackups',
  summary: 'Lists the archives in the bucket, newest first',
  details: 'Lists the bucket itself, so archives of other installations appear too.',
  answers: {
    200: {
      what: 'A page of the archives, and their total.',
      schema: archives,
      example: { backups: [one], total: 1 },
    },
  },
  errors: STORE,
};

export const showBackup: RouteDescription = {
  name: 'showBackup',
  summary: 'Shows one archive, with the content of its manifest',
  details: 'Write a `/` in the name as `%2F`.',
  path: { name },
  answers: {
    200: {
      what: 'The archive. If it cannot be read, only the fields of its object.',
      schema: details,
      example: {
        ...one,
        product: { name: 'snapshotd', version: '0.1.0' },
        serverVersion: '15.18',
        database: 'content',
        schemas: ['repository'],
        tables: [{ schema: 'repository', name: 'node', rows: 785, bytes: 98120 }],
        sequences: 1,
        extensions: [],
        leftOut: [
          {
            kind: 'foreignTableRows',
            count: 1,
            what: 'rows of repository.remote',
            why: 'a foreign table: its rows are on another server',
          },
        ],
        warnings: [],
        definitions: true,
      },
    },
  },
  errors: { ...MISSING, ...STORE },
};

export const downloadBackup: RouteDescription = {
  name: 'downloadBackup',
  summary: 'Redirects to the address of an archive for download',
  details:
    'The object store sends the archive. The address gives all rows to everybody who has it, for 15 minutes.',
  path: { name },
  answers: {
    302: { what: 'The address.', headers: { Location: 'A presigned address of the object store.' } },
  },
  errors: { ...MISSING, ...STORE },
};

export const deleteBackup: RouteDescription = {
  name: 'deleteBackup',
  summary: 'Deletes an archive and its verification record',
  path: { name },
  answers: { 204: { what: 'The archive is deleted.' } },
  errors: {
    ...MISSING,
    409: 'Job 7 needs the archive. Wait for its end, or terminate it.',
    ...STORE,
  },
};
