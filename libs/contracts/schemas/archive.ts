import { z } from 'zod';
import { count, text, time } from './fields.js';
import { omittedThings } from './omission.js';
import { verificationLevel, verificationProof } from './verification.js';

const facts = z.strictObject({
  takenOn: time.nullable().describe('The instant of the snapshot: milliseconds since 1970.'),
  entities: count.nullable(),
  daemonId: text.nullable(),
  formatVersion: count.nullable(),
  omissions: z.array(omittedThings).nullable().describe('The contents that the archive omits, by kind.'),
  warnings: z.array(text).nullable().describe('The first warnings of the backup.'),
  problem: text.nullable().describe('Why the archive cannot be read, and other fields are null.'),
});

/** The content of an archive in a list. */
export type ArchiveFacts = z.infer<typeof facts>;

const verification = z.strictObject({
  verifiedOn: time.nullable(),
  verifiedBy: z
    .enum(['READ', 'RESTORE_DRILL'])
    .nullable()
    .describe('RESTORE_DRILL for the level DRILL, else READ. `verification` names the level.'),
  restorable: z.boolean().nullable(),
  verification: verificationProof
    .extend({
      reached: verificationLevel
        .nullable()
        .describe('The highest level that it has reached, now or before; null if it is not restorable.'),
    })
    .nullable()
    .describe('Null if it was never verified.'),
});

/** The last verification of an archive. */
export type ArchiveVerification = z.infer<typeof verification>;

export const archive = z.strictObject({
  name: text.describe('The name for restores and for the calls for one archive.'),
  url: text,
  repository: text.describe('The name of the repository in whose folder it lies.'),
  createdOn: time.describe('When the object was written: milliseconds since 1970.'),
  bytes: count,
  ...facts.shape,
  ...verification.shape,
});

/** An archive in a list. */
export type Archive = z.infer<typeof archive>;
