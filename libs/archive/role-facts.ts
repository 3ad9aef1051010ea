import { z } from 'zod';
import { list, name } from './schema-parts.js';

/** A role, without its password. */
export const roleSchema = z.object({
  name,
  /** Whether something in the database names it. The others are there for their memberships. */
  named: z.boolean(),
  superuser: z.boolean(),
  inherit: z.boolean(),
  createRole: z.boolean(),
  createDatabase: z.boolean(),
  login: z.boolean(),
  replication: z.boolean(),
  bypassRls: z.boolean(),
  /** -1 for none. */
  connectionLimit: z.number().int(),
  /** The end of its password's validity. */
  validUntil: z.string().nullable(),
  comment: z.string().nullable(),
  /** Its settings in all databases. */
  settings: list(z.object({ name: z.string(), value: z.string() })),
});

/** Each comes after the one that gives its grantor the right to grant it. */
export const membershipSchema = z.object({
  role: name,
  member: name,
  admin: z.boolean(),
  /** These and the grantor are missing before PostgreSQL 16. */
  inherit: z.boolean().exactOptional(),
  set: z.boolean().exactOptional(),
  /** Missing also for the bootstrap superuser. */
  grantor: name.exactOptional(),
});
