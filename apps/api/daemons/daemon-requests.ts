import { z } from 'zod';
import { schemaNameFault } from '#config';
import { DAEMON_STATES, DAEMON_TYPES } from '#contracts';
import { page } from '../http/page.js';

/** A key has up to 1024 bytes, each of which may be percent-encoded. */
const url = z.string('the url must be a text').min(1).max(4096);
const table = z.string('a table is a text such as "schema.table"').min(3).max(512);
/** What a restore may be told. */
export const restoreRequest = z
  .strictObject({
    url,
    allowExtraTables: z.boolean().default(false),
    fireEventTriggers: z.boolean().default(false),
    otherDatabase: z.boolean().default(false),
    backupFirst: z.boolean().default(false),
    keepViolations: z.boolean().default(false),
    tables: z.array(table).min(1, 'name one table at least, or leave tables away for all').optional(),
    intoSchemas: z
      .record(z.string(), z.string().superRefine(schemaName))
      .refine((schemas) => Object.keys(schemas).length > 0, 'name one schema at least')
      .optional(),
    create: z.boolean().optional(),
  })
  .refine(({ create, intoSchemas }) => create !== true || intoSchemas !== undefined, {
    path: ['create'],
    message: 'tables are made in other schemas only: say which with intoSchemas',
  })
  .refine(({ backupFirst, intoSchemas }) => !backupFirst || intoSchemas === undefined, {
    path: ['backupFirst'],
    message: 'a restore into other schemas changes nothing that an archive would be made of',
  });
export type RestoreRequest = z.infer<typeof restoreRequest>;

/** What a verification may be told. */
export const verifyRequest = z.strictObject({
  url,
  allowExtraTables: z.boolean().default(false),
  fireEventTriggers: z.boolean().default(false),
  otherDatabase: z.boolean().default(false),
  restoreDrill: z.boolean().default(false),
});

export type VerifyRequest = z.infer<typeof verifyRequest>;

export const daemonsQuery = z.strictObject({
  type: z.enum(DAEMON_TYPES).optional(),
  status: z.enum(DAEMON_STATES).optional(),
  ...page,
});

function schemaName(name: string, context: z.core.$RefinementCtx): void {
  const fault = schemaNameFault(name);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
}
