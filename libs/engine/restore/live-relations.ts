import type { Manifest, ManifestTable } from '#archive';
import { Failure } from '#common';
import { type Scope, scopeOf } from '#config';
import { expectSchemas, expectUsable, findMembers, type Members, type Session } from '#postgres';
import type { TableMapping } from './table-mapping.js';

/** The archive's contents and their targets, as far as the schemas are concerned. */
export interface Targets {
  /** The repository's scope. */
  scope: Scope;
  /** The schemas of the archive that the restore concerns. */
  archivedSchemas: string[];
  mapping: TableMapping;
  /** Whether the rows go to existing tables of other schemas. */
  elsewhere: boolean;
  /** Whether the archive's schemas may be gone. */
  mayBeGone: boolean;
}

/** Returns the schemas that an archive has relations of: members of its tables may be in schemas that it does not list. */
export function schemasOf({ schemas, tables, sequences }: Manifest): string[] {
  return [...new Set([...schemas, ...[...tables, ...sequences].map(({ schema }) => schema)])];
}

/**
 * Finds the live relations that a restore may write to: those of the repository, or of the schemas that the mapping
 * leads to. What the settings exclude today can be in an older archive, so it is among them.
 * @throws Failure ARCHIVE_DOES_NOT_FIT for an archive with schemas that the repository does not list; SCHEMA_MISSING;
 * DATABASE_PERMISSION_DENIED
 */
export async function findTargets(
  session: Session,
  manifest: Manifest,
  { scope, archivedSchemas, mapping, elsewhere, mayBeGone }: Targets,
): Promise<Members> {
  expectListed(
    archivedSchemas.filter((schema) => manifest.schemas.includes(schema)),
    scope,
  );
  const wanted = archivedSchemas.map((schema) => mapping({ schema, name: '' }).schema);
  const members = await findMembers(session, scopeOf(elsewhere ? wanted : scope.schemas));
  expectSchemas(session, {
    ...members,
    missing: members.missing.filter((schema) => !mayBeGone && wanted.includes(schema)),
  });
  await expectUsable(session, members);
  return members;
}

/**
 * Finds the live tables that a backup would hold with the archive's scope. Those that the archive lacks appeared since,
 * or are no longer excluded.
 */
export async function findExpectedTables(session: Session, { scope, schemas }: Manifest): Promise<Members> {
  return findMembers(session, scope ?? scopeOf(schemas));
}

/** Whether a live table that the archive lacks counts: older archives hold no tables of schemas that they do not list. */
export function countsAsExtra(
  { scope, schemas }: Manifest,
  { schema }: Pick<ManifestTable, 'schema'>,
): boolean {
  return scope !== undefined || schemas.includes(schema);
}

/** Refuses an archive with schemas that do not belong to the repository. */
function expectListed(archived: string[], { schemas }: Scope): void {
  if (schemas === '*') return;
  const foreign = archived.filter((schema) => !schemas.includes(schema));
  if (foreign.length > 0)
    throw new Failure(
      'ARCHIVE_DOES_NOT_FIT',
      'permanent',
      `The archive holds the schemas ${foreign.join(', ')}, which are not in REPOSITORY_SCHEMAS (${schemas.join(', ')}).`,
      { hint: 'Nothing was changed. Choose an archive of this repository.' },
    );
}
