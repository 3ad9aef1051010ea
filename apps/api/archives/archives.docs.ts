import { z } from 'zod';
import type { Archive } from '#contracts';
import { answer, count, text, time } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';
import type { ArchiveDetails } from './archives.js';

const archive = z.strictObject({
  name: text.describe('What a restore takes, and the calls for one archive.'),
  url: text,
  createdOn: time.describe('When the object was written: milliseconds since 1970.'),
  bytes: count,
  takenOn: time.nullable().describe('The instant that it shows: milliseconds since 1970.'),
  entities: count.nullable(),
  daemonId: text.nullable(),
  formatVersion: count.nullable(),
  problem: text.nullable().describe('Why the others are null: it cannot be read.'),
  verifiedOn: time.nullable(),
  verifiedBy: z.enum(['READ', 'RESTORE_DRILL']).nullable(),
  restorable: z.boolean().nullable(),
}) satisfies z.ZodType<Archive>;

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
    sequences: count.nullable().describe('How many.'),
    extensions: z.array(z.strictObject({ name: text, version: text })).nullable(),
    leftOut: z.array(z.strictObject({ what: text, why: text })).nullable(),
    warnings: z.array(text).nullable().describe('What would hinder a restore, as its backup foresaw it.'),
    definitions: z.boolean().nullable().describe('Whether it holds schema.sql.'),
  }) satisfies z.ZodType<ArchiveDetails>,
);
const archives = answer(
  'Archives',
  z.strictObject({ backups: z.array(answer('Archive', archive)), total: count }),
);

const name = 'BackupDaemonJob1-107249060429899939.zip';
const one = {
  name,
  url: `https://s3.amazonaws.com/archives/${name}`,
  createdOn: 1795342797368,
  bytes: 51234,
  takenOn: 1795342796101,
  entities: 785,
  daemonId: '1',
  formatVersion: 2,
  problem: null,
  verifiedOn: 1795342890000,
  verifiedBy: 'READ',
  restorable: true,
};
const MISSING = { 404: 'There is no archive of this name.' };
const STORE = {
  502: 'Access Denied: the credentials lack s3:ListBucket on the bucket archives. Grant s3:ListBucket, then start again.',
};

export const listBackups: RouteDescription = {
  name: 'listBackups',
  summary: 'The archives in the bucket, newest first',
  details: 'The bucket itself is asked, so archives of other installations are listed too.',
  answers: {
    200: {
      what: 'A page of the archives, and how many there are.',
      schema: archives,
      example: { backups: [one], total: 1 },
    },
  },
  errors: STORE,
};

export const showBackup: RouteDescription = {
  name: 'showBackup',
  summary: 'One archive, with what its manifest says',
  details: 'A `/` in the name is written `%2F`.',
  path: { name },
  answers: {
    200: {
      what: 'The archive; of one that cannot be read, what is known.',
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
        leftOut: [{ what: 'definitions', why: 'no pg_dump is on PATH' }],
        warnings: [],
        definitions: false,
      },
    },
  },
  errors: { ...MISSING, ...STORE },
};

export const downloadBackup: RouteDescription = {
  name: 'downloadBackup',
  summary: 'An address to download an archive from',
  details: 'The store sends it itself. The address gives all rows to everybody who has it, for 15 minutes.',
  path: { name },
  answers: { 302: { what: 'Go there.', headers: { Location: 'A presigned address of the object store.' } } },
  errors: { ...MISSING, ...STORE },
};

export const deleteBackup: RouteDescription = {
  name: 'deleteBackup',
  summary: 'Deletes an archive, and how it was verified',
  path: { name },
  answers: { 204: { what: 'The archive is gone.' } },
  errors: {
    ...MISSING,
    409: 'The archive is needed by the daemon 7. Wait for its end, or terminate it.',
    ...STORE,
  },
};
