import { z } from 'zod';
import { count, text, time } from './fields.js';
import { databaseTarget } from './worker.js';

export const repository = z.strictObject({
  name: text,
  target: databaseTarget
    .nullable()
    .describe('Null if unknown: `default` is shown once a worker has connected.'),
  schemas: z.array(text).describe('`*` alone for all schemas.'),
  excludeSchemas: z.array(text),
  excludeTables: z.array(text),
  excludeTableRows: z.array(text),
  jobs: count.nullable().describe('The sessions that read at once; null for the setting BACKUP_JOBS.'),
  definitions: z
    .enum(['auto', 'required', 'off'])
    .nullable()
    .describe('Null for the setting BACKUP_DEFINITIONS.'),
  drillTarget: databaseTarget
    .nullable()
    .describe('The server of its drills; null for the setting DRILL_URL.'),
  prefix: text.describe('The folder of its archives below S3_PREFIX; empty for `default`.'),
  createdBy: text.nullable().describe('Null for `default`.'),
  createdOn: time.nullable(),
});

/** A repository. */
export type RepositoryView = z.infer<typeof repository>;

export const repositoryChanges = z.strictObject({
  isNew: z.boolean().describe('Whether there is no repository of this name yet.'),
  changes: z
    .array(
      z.enum([
        'url',
        'schemas',
        'excludeSchemas',
        'excludeTables',
        'excludeTableRows',
        'jobs',
        'definitions',
        'prefix',
        'drillUrl',
      ]),
    )
    .describe('The fields that would change. A new repository has all fields that it would have.'),
  repository: repository.describe('The repository as it would be.'),
});

/** The changes that setting a repository would make. */
export type RepositoryChanges = z.infer<typeof repositoryChanges>;
