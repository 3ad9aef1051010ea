import { z } from 'zod';
import { count, text, time } from './fields.js';

const change = { before: count, after: count };

export const shrinkage = z.strictObject({
  archive: text.describe('The name of the earlier archive.'),
  takenOn: time,
  total: z.strictObject(change).exactOptional().describe('All rows, if the whole has lost that many.'),
  tables: z
    .array(z.strictObject({ schema: text, name: text, ...change }))
    .describe('The tables with the largest losses, at most 20.'),
});

/** Rows that an archive lacks compared with an earlier one. */
export type ShrinkageView = z.infer<typeof shrinkage>;
