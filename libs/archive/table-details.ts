import { z } from 'zod';
import { list, name } from './schema-parts.js';

const relation = z.object({ schema: name, name });
const comment = z.string().nullable();

const columnDetails = z.object({
  name,
  /** If it is not the default of the column's type. */
  collation: relation.nullable(),
  /** As SQL. */
  default: z.string().nullable(),
  /** The expression of a generated column as SQL. */
  generation: z.string().nullable(),
  /** Whether a generated column is computed when it is read. */
  virtual: z.boolean(),
  identity: z.enum(['ALWAYS', 'BY DEFAULT']).nullable(),
  /** Whether the default is the next value of the sequence that belongs to the column. */
  counts: z.boolean(),
  comment,
});

const keyDetails = z.object({
  name,
  primary: z.boolean(),
  columns: list(name),
  include: list(name),
  nullsNotDistinct: z.boolean(),
  deferrable: z.boolean(),
  deferred: z.boolean(),
  comment,
});

const indexDetails = z.object({
  name,
  unique: z.boolean(),
  nullsNotDistinct: z.boolean(),
  method: name,
  columns: list(
    z.object({
      name,
      /** If it is not that of the column. */
      collation: relation.nullable(),
      /** If it is not the default of the type. */
      operatorClass: relation.nullable(),
      descending: z.boolean(),
      nullsFirst: z.boolean(),
    }),
  ),
  include: list(name),
  comment,
});

/** Facts from which a table can be created again, besides its columns' names and types. */
export const detailsSchema = z.object({
  comment,
  /** Columns with any of these properties. */
  columns: list(columnDetails),
  keys: list(keyDetails),
  /** Validated checks. */
  checks: list(z.object({ name, expression: z.string(), comment })),
  /** Indexes over columns, without expressions and conditions. */
  indexes: list(indexDetails),
  /** Names of its other objects, for people. */
  others: list(z.string()),
});
