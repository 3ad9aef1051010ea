import { z } from 'zod';
import { postgresUrl, schemaNameFault, schemaPattern, tablePattern } from '#config';
import { REPOSITORY_NAME } from '#contracts';

const MOST_PATTERNS = 1_000;

const url = z.string('the url is a text').max(4096).pipe(postgresUrl);

const schemas = z
  .array(z.string('a schema is a text'))
  .min(1, 'name at least one schema, or omit schemas for all')
  .max(MOST_PATTERNS)
  .superRefine((names, context) => {
    if (names.length === 1 && names[0] === '*') return;
    for (const name of names) {
      const fault = name === '*' ? 'holds * beside names: give * alone, or names' : schemaNameFault(name);
      if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
    }
  });

function patterns(check: (pattern: string) => string | undefined) {
  return z
    .array(z.string('a pattern is a text').max(512))
    .max(MOST_PATTERNS)
    .superRefine((all, context) => {
      for (const pattern of all) {
        const fault = check(pattern);
        if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
      }
    })
    .default([]);
}

const tablePatterns = patterns((pattern) =>
  tablePattern(pattern) === undefined
    ? `holds ${pattern}, which is not of the form schema.table: put names with dots in double quotes`
    : undefined,
);

/** A repository, as an administrator sets it. */
export const repositoryRequest = z.strictObject({
  url: url
    .optional()
    .describe(
      'The PostgreSQL URL. It is stored sealed and never shown. Without it, an existing repository keeps its own.',
    ),
  schemas: schemas.default(['*']).describe('The names of schemas; `*` alone for all.'),
  excludeSchemas: patterns((pattern) =>
    schemaPattern(pattern) === '' ? 'holds an empty pattern' : undefined,
  ),
  excludeTables: tablePatterns,
  excludeTableRows: tablePatterns,
  jobs: z
    .int()
    .min(1)
    .max(32)
    .nullable()
    .default(null)
    .describe('The sessions that read at once; null for BACKUP_JOBS.'),
  definitions: z
    .enum(['auto', 'required', 'off'], 'must be auto, required or off')
    .nullable()
    .default(null)
    .describe('Null for BACKUP_DEFINITIONS.'),
  drillUrl: url
    .nullable()
    .optional()
    .describe(
      'The server of its drills; null for DRILL_URL. Without it, an existing repository keeps its own.',
    ),
  prefix: z
    .string('the prefix is a text')
    .max(200)
    .regex(/^[\w][\w.()+-]*(\/[\w][\w.()+-]*)*\/$/, 'is a folder such as crm/, with a / at its end')
    .optional()
    .describe('The folder of its archives below S3_PREFIX; `<name>/` if missing. It cannot change.'),
  adopt: z
    .boolean()
    .default(false)
    .describe('Accepts archives that lie in its folder already. They belong to it then.'),
});
export type RepositoryRequest = z.infer<typeof repositoryRequest>;

/** The field of a request that names the repository of a job. */
export const repositoryName = z
  .string('the repository is a text')
  .regex(REPOSITORY_NAME, 'a repository has 1 to 40 of the characters a-z, 0-9, _ and -');

/** The query of a page that shows one repository or all. */
export const repositoryFilter = z.strictObject({ repository: repositoryName.optional() });
