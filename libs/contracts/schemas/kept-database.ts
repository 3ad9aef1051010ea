import { z } from 'zod';
import { text, time } from './fields.js';

export const keptDatabase = z.strictObject({
  name: text,
  of: text.describe('Its name before the swap.'),
  owner: text,
  keptOn: time.describe('When it was swapped: milliseconds since 1970.'),
  daemonId: text.describe('The id of the restore that swapped it.'),
});

/** A database that a restore with `swap` has kept. */
export type KeptDatabaseView = z.infer<typeof keptDatabase>;
