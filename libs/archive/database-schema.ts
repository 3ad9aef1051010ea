import { z } from 'zod';
import { list, name } from './schema-parts.js';

/** The properties of the database that CREATE DATABASE, ALTER DATABASE, COMMENT and GRANT set. */
export const databaseSchema = z.object({
  owner: name,
  encoding: z.string(),
  locale: z.object({
    provider: z.enum(['libc', 'icu', 'builtin']),
    collate: z.string(),
    ctype: z.string(),
    /** The locale of the providers icu and builtin. */
    name: z.string().nullable(),
    icuRules: z.string().nullable(),
    collationVersion: z.string().nullable(),
  }),
  /** -1 for none. */
  connectionLimit: z.number().int(),
  allowConnections: z.boolean(),
  isTemplate: z.boolean(),
  tablespace: name,
  comment: z.string().nullable(),
  /** Those of ALTER DATABASE have no role. */
  settings: list(z.object({ role: name.nullable(), name: z.string(), value: z.string() })),
  /** null: the default rights. PUBLIC is the grantee null. */
  rights: list(
    z.object({ grantee: name.nullable(), grantor: name, privilege: z.string(), grantable: z.boolean() }),
  ).nullable(),
  /** Missing in older archives. */
  hasPublicSchema: z.boolean().optional(),
});

export type ManifestDatabase = z.infer<typeof databaseSchema>;
