import { z } from 'zod';
import { SWAP_OBSTACLES } from '#contracts';

/** The length of a name in PostgreSQL. */
const MAX_NAME_BYTES = 63;
/** Databases that a recover has not completed. */
const UNFINISHED = 'snapshotd_recover_';

/** The options of a restore into a new database. */
export const intoDatabaseOptions = {
  intoDatabase: z
    .string('the name of a database is a text')
    .regex(/^\P{Cc}+$/u, 'give a name without control characters')
    .refine(
      (name) => Buffer.byteLength(name) <= MAX_NAME_BYTES,
      `a name has at most ${MAX_NAME_BYTES} bytes in UTF-8`,
    )
    .refine(
      (name) => !name.startsWith(UNFINISHED),
      `names of unfinished databases begin with ${UNFINISHED}: choose another one`,
    )
    .optional(),
  swap: z.boolean().optional(),
  accept: z
    .array(z.enum(SWAP_OBSTACLES, `must be one of ${SWAP_OBSTACLES.join(', ')}`))
    .min(1, 'name at least one obstacle, or omit accept')
    .optional(),
  createRoles: z.boolean().optional(),
  privilegedRoles: z.boolean().optional(),
  noOwner: z.boolean().optional(),
};

/** Options that only a restore into existing tables has. */
const IN_PLACE = [
  'tables',
  'intoSchemas',
  'create',
  'backupFirst',
  'allowExtraTables',
  'allowExtraColumns',
  'dropColumns',
  'fireEventTriggers',
  'keepViolations',
  'removeExtraLargeObjects',
] as const;

/** Options that need another one. */
const NEEDS = [
  ['swap', 'intoDatabase'],
  ['accept', 'swap'],
  ['createRoles', 'intoDatabase'],
  ['privilegedRoles', 'createRoles'],
  ['noOwner', 'intoDatabase'],
] as const;

/** Finds options that do not go together. */
export function checkIntoDatabase(
  request: Partial<Record<(typeof IN_PLACE)[number] | keyof typeof intoDatabaseOptions, unknown>>,
  context: z.core.$RefinementCtx,
): void {
  const isSet = (option: keyof typeof request) => request[option] !== undefined && request[option] !== false;
  const refuse = (option: string, message: string) =>
    context.addIssue({ code: 'custom', path: [option], message });
  if (isSet('intoDatabase'))
    for (const option of IN_PLACE.filter(isSet))
      refuse(option, 'a restore into a new database restores the whole archive, so this does not go with it');
  for (const [option, other] of NEEDS)
    if (isSet(option) && !isSet(other)) refuse(option, `it needs ${other}`);
  if (isSet('noOwner') && isSet('createRoles'))
    refuse('noOwner', 'roles are either created or not needed: omit createRoles or noOwner');
}
