import { createHash } from 'node:crypto';
import { z } from 'zod';
import { Failure } from '#common';
import { databaseSchema } from './database-schema.js';
import { LARGE_OBJECTS_NAME, ROLES_NAME } from './entries.js';
import { bigintText, count, fileSchema, list, name } from './schema-parts.js';
import { databaseDefinitionsSchema, definitionsSchema } from './sql-files.js';
import { membershipSchema, roleSchema } from './role-facts.js';
import { detailsSchema } from './table-details.js';

/** The longest manifest. The limit bounds the cost of reading a hostile archive. */
export const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

/**
 * Raised when older readers cannot read the new archives. In version 1 the entries lie in the order of the manifest;
 * since version 2 they lie in any order.
 */
export const FORMAT_VERSION = 2;
const FORMAT_NAME = 'snapshotd-archive';

const columnSchema = z.object({
  name,
  type: z.string(),
  notNull: z.boolean(),
  generated: z.boolean(),
});

const entrySchema = fileSchema.extend({ rows: count });

const sequenceSchema = z.object({
  schema: name,
  name,
  lastValue: bigintText,
  isCalled: z.boolean(),
  /** The column that it belongs to: it is dropped with it. Missing in older archives. */
  ownedBy: z.object({ schema: name, table: name, column: name }).exactOptional(),
});

export const tableSchema = z.object({
  schema: name,
  name,
  rows: count,
  columns: list(columnSchema),
  /** Its partitioned parents, the nearest first. */
  partitionOf: list(z.object({ schema: name, name })).default([]),
  entries: list(entrySchema),
  /** The conditions that PostgreSQL had proven for all rows, as it prints them; missing in older archives. */
  conditions: list(z.string()).optional(),
  /** From these and its columns it can be created; missing in older archives. */
  details: detailsSchema.optional(),
  /** Whether its values hold bytes that are invalid in the encoding. */
  invalidText: z.literal(true).optional(),
});

/** Rows and sequences that CREATE EXTENSION does not make. */
const configurationSchema = z.object({
  tables: list(
    tableSchema.omit({ partitionOf: true, conditions: true }).extend({
      extension: name,
      /** Follows the table's name in a query for the rows; may be empty. */
      condition: z.string(),
    }),
  ),
  sequences: list(sequenceSchema.extend({ extension: name })),
});

/** A type that columns use, directly or through arrays and other types. */
const typeSchema = z.object({
  /** As in a column's `type`. */
  type: z.string(),
  kind: z.enum(['composite', 'domain', 'enum', 'range', 'multirange']),
  /** A composite's attributes in their order; otherwise the one type that it is based on. */
  parts: list(
    z.object({
      name: z.string(),
      type: z.string(),
      collation: z.string().nullable(),
      with: list(z.string()),
    }),
  ),
  /** The labels of an enum in their order. */
  labels: list(z.string()),
});

const relationSchema = z.object({ schema: name, name });

export const scopeSchema = z.object({
  schemas: z.union([z.literal('*'), list(name)]),
  /** Patterns, as in the settings. */
  excludeSchemas: list(z.string()),
  excludeTables: list(z.string()),
  excludeTableRows: list(z.string()),
  /** The objects that they meant, which are no omissions. */
  excluded: z.object({ schemas: list(name), tables: list(relationSchema), rows: list(relationSchema) }),
});

const change = { before: count, after: count };

/** Rows that the archive lacks compared with an earlier one: more than SHRINK_WARNING_PERCENT. */
const shrunkSchema = z.object({
  /** The name of the earlier archive, and the time of its snapshot. */
  archive: z.string(),
  takenAt: z.iso.datetime(),
  /** All rows, if the whole has lost that many. */
  total: z.object(change).optional(),
  tables: list(z.object({ schema: name, name, ...change })),
});

export const leftOutSchema = z.object({
  what: z.string(),
  why: z.string(),
  /** An OmissionKind; missing in older archives, as is the count. */
  kind: z.string().optional(),
  /** The number of things. */
  count: count.optional(),
});

export const largeObjectTotals = z.object({ objects: count, bytes: count });

export const manifestSchema = z.object({
  format: z.literal(FORMAT_NAME),
  formatVersion: z.literal([1, FORMAT_VERSION]),
  product: z.object({ name: z.string(), version: z.string() }),
  daemonId: z.string(),
  /** The time of the snapshot by the server's clock. */
  takenAt: z.iso.datetime(),
  server: z.object({
    version: z.string(),
    encoding: z.string(),
    database: name,
    /** From initdb. Older archives lack it and the database's OID. */
    systemIdentifier: z
      .string()
      .regex(/^\d{1,20}$/)
      .optional(),
    databaseOid: count.optional(),
  }),
  snapshot: z.object({ name: z.string(), walPosition: z.string() }),
  /** The schemas that were backed up. */
  schemas: list(name),
  /** The part of the database that the settings asked for; missing in older archives. */
  scope: scopeSchema.optional(),
  schemaFingerprint: z.string(),
  tables: list(tableSchema),
  /** Missing in older archives. */
  types: list(typeSchema).optional(),
  sequences: list(sequenceSchema),
  /** Missing in older archives. */
  configuration: configurationSchema.optional(),
  /** The extensions that types of columns belong to. */
  extensions: list(z.object({ name, version: z.string() })).default([]),
  /** Materialized views that were populated; missing in older archives. */
  populatedViews: list(z.object({ schema: name, name })).optional(),
  /** `schema.sql`, if the archive holds it. */
  definitions: definitionsSchema.optional(),
  /** `database.sql`, if the archive holds it. */
  databaseDefinitions: databaseDefinitionsSchema.optional(),
  /** `roles.sql`; missing in older archives, as is the database. */
  roles: fileSchema
    .extend({
      name: z.literal(ROLES_NAME),
      /** The facts of its statements; missing in older archives. */
      roles: list(roleSchema).exactOptional(),
      memberships: list(membershipSchema).exactOptional(),
    })
    .optional(),
  database: databaseSchema.optional(),
  /** Missing in older archives, and if the backup excluded large objects. */
  largeObjects: z
    .object({
      /** Missing if the database had none. */
      metadata: entrySchema.extend({ name: z.literal(LARGE_OBJECTS_NAME) }).optional(),
      /** Their contents, in the order of the OIDs and offsets. */
      entries: list(entrySchema),
      /** Bytes of all objects together. */
      bytes: count,
    })
    .optional(),
  totals: z.object({
    tables: count,
    entities: count,
    bytes: count,
    /** Missing without `largeObjects`. */
    largeObjects: largeObjectTotals.optional(),
  }),
  /** Obstacles to restores with the worker's role that the backup found. */
  warnings: list(z.string()).optional(),
  shrunk: shrunkSchema.optional(),
  /** Why it was not compared with an earlier archive. */
  notCompared: z.string().optional(),
  leftOut: list(leftOutSchema.extend({ of: list(z.object({ schema: name, name })).optional() })),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type ManifestTable = z.infer<typeof tableSchema>;
export type ManifestConfiguration = z.infer<typeof configurationSchema>;
export type ManifestConfigurationTable = ManifestConfiguration['tables'][number];
/** An entry of the zip as the manifest describes it. */
export type ManifestFile = z.infer<typeof fileSchema>;
export type ManifestRole = z.infer<typeof roleSchema>;
export type ManifestMembership = z.infer<typeof membershipSchema>;
/** An entry that holds rows. */
export type ManifestEntry = z.infer<typeof entrySchema>;
export type ManifestType = z.infer<typeof typeSchema>;
/** The large objects of an archive. */
export type ManifestLargeObjects = NonNullable<Manifest['largeObjects']>;
export type ManifestColumn = z.infer<typeof columnSchema>;

/** The writer's facts of an archive, from which the rest of the manifest follows. */
export type ManifestFacts = Omit<Manifest, 'format' | 'formatVersion' | 'schemaFingerprint' | 'totals'>;

export function createManifest(facts: ManifestFacts): Manifest {
  return {
    format: FORMAT_NAME,
    formatVersion: FORMAT_VERSION,
    ...facts,
    schemaFingerprint: schemaFingerprint(facts.tables),
    totals: {
      tables: facts.tables.length,
      entities: sum(facts.tables.map(({ rows }) => rows)),
      bytes: sum(facts.tables.flatMap(({ entries }) => entries.map(({ length }) => length))),
      ...(facts.largeObjects && { largeObjects: totalsOf(facts.largeObjects) }),
    },
  };
}

/**
 * Reads an untrusted manifest.
 * @throws Failure ARCHIVE_INVALID that names the fault
 */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid('its manifest.json is not JSON', cause);
  }
  return checkManifest(json, manifestSchema);
}

/**
 * Checks a manifest, or some of its members, against a schema.
 * @throws Failure ARCHIVE_INVALID that names the fault
 */
export function checkManifest<Checked>(json: unknown, schema: z.ZodType<Checked>): Checked {
  const { format, formatVersion } = (json ?? {}) as { format?: unknown; formatVersion?: unknown };
  if (format !== FORMAT_NAME) throw invalid(`its manifest.json is not that of a ${FORMAT_NAME}`);
  if (typeof formatVersion === 'number' && formatVersion > FORMAT_VERSION)
    throw new Failure(
      'ARCHIVE_INVALID',
      'permanent',
      `The archive has format version ${formatVersion}; this snapshotd reads versions up to ${FORMAT_VERSION}.`,
      { hint: 'Use a newer snapshotd.' },
    );
  const checked = schema.safeParse(json);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw invalid(
    `its manifest.json is wrong at ${issue?.path.join('.') ?? 'its top'}: ${issue?.message ?? ''}`,
  );
}

/** All entries except the manifest. */
export function filesOf(manifest: Manifest): ManifestFile[] {
  return [
    ...manifest.tables.flatMap(({ entries }) => entries),
    ...largeObjectFiles(manifest),
    ...otherFiles(manifest),
  ];
}

/** The entries of large objects. */
export function largeObjectFiles({ largeObjects }: Manifest): ManifestFile[] {
  if (largeObjects?.metadata === undefined) return [];
  return [largeObjects.metadata, ...largeObjects.entries];
}

export function totalsOf({ metadata, bytes }: ManifestLargeObjects): { objects: number; bytes: number } {
  return { objects: metadata?.rows ?? 0, bytes };
}

/** The entries that hold neither rows of the repository's tables nor large objects, in the order of the archive. */
export function otherFiles(manifest: Manifest): ManifestFile[] {
  const { configuration, databaseDefinitions, definitions, roles } = manifest;
  const entries = configuration?.tables.flatMap((table) => table.entries) ?? [];
  return [...entries, databaseDefinitions, definitions, roles].filter((file) => file !== undefined);
}

/** SHA-256 of the tables' names and columns: with equal fingerprints, rows fit. */
export function schemaFingerprint(tables: Pick<ManifestTable, 'schema' | 'name' | 'columns'>[]): string {
  const definitions = tables.map((table) => [
    table.schema,
    table.name,
    table.columns.map((column) => [column.name, column.type, column.notNull, column.generated]),
  ]);
  return createHash('sha256').update(JSON.stringify(definitions)).digest('hex');
}

export function invalid(reason: string, cause?: unknown): Failure {
  return new Failure('ARCHIVE_INVALID', 'permanent', `This is not a complete snapshotd archive: ${reason}.`, {
    hint: 'Check the name, or use the newest verified archive.',
    cause,
  });
}

export function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
