import { z } from 'zod';
import { DATABASE_NAME, DEFINITIONS_NAME } from './entries.js';
import { count, fileSchema, list, name } from './schema-parts.js';

const oid = count.max(0xffff_ffff);

/** A statement of a text of SQL, with the object that it defines or changes. */
const statementSchema = z.object({
  /** pg_dump's type, such as `FK CONSTRAINT`; `SET` for settings of the session. */
  kind: z.string().regex(/^[A-Z][A-Z ]{0,62}$/),
  /** Null for objects outside of schemas. */
  schema: name.nullable(),
  /** As pg_dump names it; exact for tables, views and sequences. */
  name: z.string(),
  /** The OID of the catalog, and the object's there; for a comment or a right, those of the object that has it. */
  class: oid,
  oid,
  /** Its place in the text, in bytes. */
  offset: count,
  length: count.min(1),
});

const sqlFileSchema = fileSchema.extend({
  /** In their order; missing in older archives. */
  statements: list(statementSchema).optional(),
});

/** Whether the statements lie in the text, one after the other. */
function liesInside({ length, statements = [] }: z.infer<typeof sqlFileSchema>): boolean {
  let end = 0;
  return statements.every((statement) => {
    if (statement.offset < end) return false;
    end = statement.offset + statement.length;
    return end <= length;
  });
}
const OUTSIDE = { path: ['statements'], message: 'a statement overlaps another one or the end' };

/** `schema.sql` */
export const definitionsSchema = sqlFileSchema
  .extend({
    name: z.literal(DEFINITIONS_NAME),
    /** The number of its first statements that run before the rows are loaded. */
    beforeRows: count.optional(),
  })
  .refine(liesInside, OUTSIDE)
  .refine(
    ({ beforeRows = 0, statements = [] }) => beforeRows <= statements.length,
    'beforeRows counts more statements than there are',
  );

/** `database.sql` */
export const databaseDefinitionsSchema = sqlFileSchema
  .extend({ name: z.literal(DATABASE_NAME) })
  .refine(liesInside, OUTSIDE);

/** A text of SQL. */
export type ManifestSqlFile = z.infer<typeof sqlFileSchema>;
export type ManifestStatement = z.infer<typeof statementSchema>;
