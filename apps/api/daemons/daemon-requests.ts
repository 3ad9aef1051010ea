import { z } from 'zod';
import { schemaNameFault } from '#config';
import { DAEMON_STATES, DAEMON_TYPES } from '#contracts';
import { verificationLevel } from '#contracts/schemas';
import { page } from '../http/validation.js';
import { repositoryName } from '../repositories/repository-request.js';
import { checkIntoDatabase, intoDatabaseOptions } from './into-database.js';

/** An archive's key has up to 1024 bytes, each of which may be percent-encoded. */
const url = z.string('the url must be a text').min(1).max(4096);
const table = z.string('a table is a text such as "schema.table"').min(3).max(512);
/** A column's name has three parts. */
const column = z.string('a column is a text such as "schema.table.column"').min(5).max(768);
/** The options for columns that changed since the backup. */
const columnOptions = {
  allowExtraColumns: z.boolean().default(false),
  dropColumns: z.array(column).min(1, 'name at least one column, or omit dropColumns').optional(),
};
const repository = repositoryName.optional();

/** The options of a backup. */
export const backupRequest = z.strictObject({
  repository: repository.describe('The repository to back up; `default` if missing.'),
});
export type BackupRequest = z.infer<typeof backupRequest>;

/** The options of a restore. */
export const restoreRequest = z
  .strictObject({
    url,
    repository: repository.describe(
      'The repository to restore into. Without it, the one in whose folder the archive lies.',
    ),
    allowExtraTables: z.boolean().default(false),
    ...columnOptions,
    fireEventTriggers: z.boolean().default(false),
    otherDatabase: z.boolean().default(false),
    backupFirst: z.boolean().default(false),
    keepViolations: z.boolean().default(false),
    removeExtraLargeObjects: z.boolean().default(false),
    tables: z.array(table).min(1, 'name at least one table, or omit tables to restore all').optional(),
    intoSchemas: z
      .record(z.string(), z.string().superRefine(schemaName))
      .refine((schemas) => Object.keys(schemas).length > 0, 'name at least one schema')
      .optional(),
    create: z.boolean().optional(),
    ...intoDatabaseOptions,
  })
  .superRefine(checkIntoDatabase)
  .refine(({ create, intoSchemas }) => create !== true || intoSchemas !== undefined, {
    path: ['create'],
    message: 'tables are created in other schemas only: name them with intoSchemas',
  })
  .refine(
    ({ create, allowExtraColumns, dropColumns }) =>
      create !== true || (!allowExtraColumns && dropColumns === undefined),
    {
      path: ['create'],
      message:
        'created tables have the columns of the archive, so allowExtraColumns and dropColumns do not go with it',
    },
  )
  .refine(
    ({ removeExtraLargeObjects, tables, intoSchemas }) =>
      !removeExtraLargeObjects || (tables === undefined && intoSchemas === undefined),
    {
      path: ['removeExtraLargeObjects'],
      message: 'a restore of some tables or into other schemas leaves all large objects unchanged',
    },
  )
  .refine(({ backupFirst, intoSchemas }) => !backupFirst || intoSchemas === undefined, {
    path: ['backupFirst'],
    message:
      'a restore into other schemas does not change the repository, so there is nothing to back up first',
  });
export type RestoreRequest = z.infer<typeof restoreRequest>;

/** The options of a verification. */
export const verifyRequest = z
  .strictObject({
    url,
    repository: repository.describe(
      'The repository that a restore is checked against. Without it, the one in whose folder the archive lies.',
    ),
    level: verificationLevel.optional().describe('Without it, `DRILL` if `restoreDrill` is set, else `FIT`.'),
    allowExtraTables: z.boolean().default(false),
    ...columnOptions,
    fireEventTriggers: z.boolean().default(false),
    otherDatabase: z.boolean().default(false),
    restoreDrill: z.boolean().default(false).describe('An older word for the level `DRILL`.'),
  })
  .refine(({ level = 'DRILL', restoreDrill }) => level === 'DRILL' || !restoreDrill, {
    path: ['level'],
    message: 'restoreDrill means the level DRILL: omit it, or set level to DRILL',
  });

export type VerifyRequest = z.infer<typeof verifyRequest>;

export const daemonsQuery = z.strictObject({
  type: z.enum(DAEMON_TYPES).optional(),
  status: z.enum(DAEMON_STATES).optional(),
  repository,
  ...page,
});

function schemaName(name: string, context: z.core.$RefinementCtx): void {
  const fault = schemaNameFault(name);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
}
