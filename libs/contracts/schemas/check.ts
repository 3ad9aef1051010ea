import { z } from 'zod';
import { count, text, time } from './fields.js';
import { omittedThings } from './omission.js';
import { FINDING_KINDS, FINDING_LEVELS } from './words.js';

export const finding = z.strictObject({
  kind: z.enum(FINDING_KINDS),
  level: z
    .enum(FINDING_LEVELS)
    .describe(
      'A warning prevents no backup, but a restore, or calls for a look. A problem prevents backups.',
    ),
  message: text.describe('A sentence, without values of rows and without passwords.'),
  statements: z.array(text).describe('SQL that removes the cause, for a superuser to run. Often empty.'),
});

/** One result of a check. */
export type Finding = z.infer<typeof finding>;

export const restoreTarget = z.strictObject({
  database: text,
  host: text,
  port: text,
  systemIdentifier: text.nullable().describe("The cluster's; null if PostgreSQL refuses to tell it."),
});

/** The database that a check or a restore concerns, as the worker finds it. */
export type RestoreTarget = z.infer<typeof restoreTarget>;

const sized = z.strictObject({
  schema: text,
  name: text,
  bytes: count,
  estimatedRows: count.describe("PostgreSQL's estimate."),
});

/** The most tables that an answer lists. */
const MOST_TABLES = 2_000;

export const repositoryCheck = z.strictObject({
  repository: text,
  /** Milliseconds since 1970, by the worker's clock. */
  checkedOn: time,
  target: restoreTarget.nullable().describe('Null if the worker could not connect.'),
  version: text.nullable().describe("PostgreSQL's."),
  tls: text.nullable().describe('Protocol and cipher; null for a connection without TLS.'),
  role: text.nullable(),
  bytes: count.nullable().describe('The length of all tables on disk, without indexes.'),
  estimatedRows: count.nullable().describe("PostgreSQL's estimate. No row is read."),
  tables: z
    .strictObject({ total: count, largest: z.array(sized).max(MOST_TABLES) })
    .nullable()
    .describe('The largest tables come first.'),
  omissions: z.array(omittedThings).describe('The contents that a backup would omit, by kind.'),
  findings: z.array(finding),
});

/** What a worker found out about a repository and its bucket. */
export type RepositoryCheck = z.infer<typeof repositoryCheck>;

export const restorePreview = z.strictObject({
  repository: text,
  /** Milliseconds since 1970, by the worker's clock. */
  plannedOn: time,
  archive: text.describe('The backupUrl.'),
  takenOn: time.nullable().describe('The instant of the archive; null if it cannot be read.'),
  summary: text.describe('Such as "Replaces 7 tables, 1.55 M rows, in shop at db1:5432".'),
  target: restoreTarget.nullable().describe('Null if the worker could not connect.'),
  rows: z.strictObject({
    archive: count,
    estimatedNow: count.nullable().describe("PostgreSQL's estimate; null if the tables do not exist."),
  }),
  tables: z.strictObject({
    total: count,
    listed: z
      .array(
        z.strictObject({
          schema: text,
          name: text,
          into: text.describe('The table that its rows go to.'),
          archive: count.describe('Its rows in the archive.'),
          estimatedNow: count
            .nullable()
            .describe(
              "The rows there now by PostgreSQL's estimate: nothing is counted. Null if there is no table.",
            ),
        }),
      )
      .max(MOST_TABLES),
  }),
  suspended: z
    .strictObject({ total: count, listed: z.array(text).max(MOST_TABLES) })
    .describe(
      'Foreign keys, triggers, checks, indexes and row security that the restore suspends and reinstates.',
    ),
  columns: z
    .strictObject({
      total: count,
      listed: z
        .array(z.strictObject({ table: text, added: z.array(text), dropped: z.array(text) }))
        .max(MOST_TABLES),
    })
    .describe('Columns that get defaults, and columns of the archive that are dropped.'),
  omissions: z.array(omittedThings).describe('The contents that the archive omits, by kind.'),
  warnings: z.array(text),
  estimatedSeconds: count.describe('From the rates in docs/performance.md.'),
  refusals: z
    .array(z.strictObject({ code: text, message: text }))
    .describe('The reasons for which a restore would be refused now. Empty if it would be accepted.'),
});

/** What a restore would do now. */
export type RestorePreview = z.infer<typeof restorePreview>;
