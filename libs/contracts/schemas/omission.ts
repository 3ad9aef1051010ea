import { z } from 'zod';
import { count, text } from './fields.js';

export const omittedThings = z.strictObject({
  kind: text.describe('Such as foreignTableRows; other if this version does not know the kind.'),
  count: count.describe('The number of things.'),
  what: text.describe('Their names; of many, the first ones.'),
  why: text,
});

/** The things of one kind that an archive omits. */
export type OmittedThings = z.infer<typeof omittedThings>;
