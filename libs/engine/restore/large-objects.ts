import type { ManifestLargeObjects, OpenArchive } from '#archive';
import { Failure, formatBytes } from '#common';
import {
  compareLargeObjects,
  countExtraLargeObjects,
  describeLargeObjects,
  findRoles,
  type LargeObject,
  type LargeObjectBatch,
  type LargeObjectDifference,
  prepareLargeObjects,
  putPieces,
  quoteIdentifier,
  removeExtraLargeObjects,
  type Session,
} from '#postgres';
import type { RowProgress } from '../shared/row-progress.js';
import { largeObjectBatches, largeObjectPieces } from './archived-large-objects.js';

/** The large objects of a restore, as far as they are known before it changes anything. */
export interface LargeObjectPlan {
  archived: ManifestLargeObjects;
  /** The number of objects of the database that the archive does not hold. */
  extra: number;
  removeExtra: boolean;
  /** The most locks that it takes. */
  locks: number;
  /** The kinds of statements that fire event triggers. */
  statements: string[];
  /** The roles that get their objects and rights: existing ones, those that this session may act as, or none. */
  roles?: 'existing' | 'own' | 'none';
}

/**
 * Plans the restore of all large objects, and checks the rights that it requires.
 * @returns undefined if the archive does not know the large objects
 * @throws Failure OWNERSHIP_MISSING, ARCHIVE_INVALID
 */
export async function planLargeObjectRestore(
  session: Session,
  archive: OpenArchive,
  removeExtra: boolean,
): Promise<LargeObjectPlan | undefined> {
  const { largeObjects: archived } = archive.manifest;
  if (archived === undefined) return undefined;
  const plan: LargeObjectPlan = { archived, extra: 0, removeExtra, locks: 0, statements: [] };
  const lacking = new LackingRights();
  for await (const batch of largeObjectBatches(archive, archived)) {
    const { objects } = await withExistingRoles(session, batch);
    const owners = new Map(objects.map(({ oid, owner }) => [oid, owner]));
    const differences = await compareLargeObjects(session, { ...batch, objects });
    for (const one of differences) {
      // Changing the rights takes locks from PostgreSQL 18 on.
      plan.locks += Number(one.owner) + Number(one.comment) + Number(one.rights);
      lacking.look(one, owners.get(one.oid));
    }
    plan.statements.push(...statementsFor(differences));
    const extra = await countExtraLargeObjects(session, batch);
    plan.extra += extra.all;
    if (removeExtra) {
      plan.locks += extra.all;
      lacking.add(extra.kept, extra.owners);
    }
  }
  plan.statements = [...new Set(plan.statements)];
  await lacking.expectNone(session);
  return plan;
}

function statementsFor(differences: LargeObjectDifference[]): string[] {
  return [
    ...(differences.some(({ owner }) => owner) ? ['ALTER LARGE OBJECT'] : []),
    ...(differences.some(({ rights, owner }) => rights || owner) ? ['GRANT', 'REVOKE'] : []),
    ...(differences.some(({ comment }) => comment) ? ['COMMENT'] : []),
  ];
}

/** The sentence about objects that a restore leaves as they are. */
export function warnOfExtraLargeObjects(plan: LargeObjectPlan | undefined): string[] {
  if (plan === undefined || plan.removeExtra || plan.extra === 0) return [];
  const objects = plan.extra === 1 ? '1 large object stays' : `${plan.extra} large objects stay`;
  return [`${objects} that the archive does not hold; removeExtraLargeObjects removes such objects`];
}

/**
 * Gives all archived objects their contents, owners, rights and comments, in the open transaction.
 * @returns the properties that it could not restore, by name
 * @throws Failure ARCHIVE_INVALID, or PostgreSQL's
 */
export async function restoreLargeObjects(
  session: Session,
  archive: OpenArchive,
  plan: LargeObjectPlan | undefined,
  progress: RowProgress,
): Promise<string[]> {
  if (plan === undefined) return [];
  const { archived, removeExtra, roles } = plan;
  progress.say('Preparing large objects');
  for await (const batch of largeObjectBatches(archive, archived)) {
    if (removeExtra) await removeExtraLargeObjects(session, batch);
    await prepareLargeObjects(session, await withExistingRoles(session, batch, { roles }));
  }
  const say = (bytes: number) => progress.say(`Loading large objects: ${ofAll(bytes, archived)}`);
  for await (const pieces of largeObjectPieces(archive, archived, say)) await putPieces(session, pieces);
  progress.say('Restoring owners and rights of large objects');
  const lost = new Lost();
  // After the contents: the archived rights need not let the worker write.
  for await (const batch of largeObjectBatches(archive, archived)) {
    const inexact = await describeLargeObjects(
      session,
      await withExistingRoles(session, batch, { roles, lost }),
    );
    lost.add('rights', '', inexact.length);
  }
  return lost.named;
}

/** Reads all large objects, and checks them against their list and the manifest. @throws Failure ARCHIVE_INVALID */
export async function checkLargeObjects(archive: OpenArchive, progress: RowProgress): Promise<void> {
  const { largeObjects } = archive.manifest;
  if (largeObjects === undefined) return;
  const say = (bytes: number) => progress.say(`Checking large objects: ${ofAll(bytes, largeObjects)}`);
  const pieces = largeObjectPieces(archive, largeObjects, say);
  while ((await pieces.next()).done !== true);
}

function ofAll(bytes: number, { bytes: all }: ManifestLargeObjects): string {
  return `${formatBytes(bytes)} of ${formatBytes(all)}`;
}

/** Leaves out owners and rights of roles that this database does not have. @param lost notes them */
async function withExistingRoles(
  session: Session,
  batch: LargeObjectBatch,
  { roles: wanted = 'existing', lost }: { roles?: LargeObjectPlan['roles']; lost?: Lost } = {},
): Promise<LargeObjectBatch> {
  const names = batch.objects.flatMap(({ owner, rights }) => [
    ...(owner === undefined ? [] : [owner]),
    ...(rights ?? []).flatMap(({ grantor, grantee }) => [grantor, ...(grantee === null ? [] : [grantee])]),
  ]);
  const existing = await findRoles(session, wanted === 'none' ? [] : [...new Set(names)]);
  const roles = new Set(
    [...existing].flatMap(([name, { mayBeSet }]) => (wanted === 'existing' || mayBeSet ? [name] : [])),
  );
  const objects = batch.objects.map(({ owner = '', rights, ...object }): LargeObject => {
    if (object.comment === undefined) lost?.add('comment', 'it is not UTF-8');
    if (!roles.has(owner)) {
      lost?.add(
        'owner and rights',
        existing.has(owner) ? `this role may not act as ${owner}` : `there is no role ${owner}`,
      );
      return object;
    }
    const kept = rights?.filter(
      ({ grantor, grantee }) => roles.has(grantor) && (grantee === null || roles.has(grantee)),
    );
    if (kept !== undefined && kept.length < (rights?.length ?? 0)) lost?.add('rights', 'roles are missing');
    return { ...object, owner, rights: kept ?? null };
  });
  return { ...batch, objects };
}

/** Properties of large objects that a restore could not give back. */
class Lost {
  private readonly counts = new Map<string, { what: string; why: string; count: number }>();

  /** @param why such as "there is no role x"; may be empty */
  add(what: string, why: string, count = 1): void {
    if (count === 0) return;
    const key = `${what} ${why}`;
    this.counts.set(key, { what, why, count: (this.counts.get(key)?.count ?? 0) + count });
  }

  get named(): string[] {
    return [...this.counts.values()].map(
      ({ what, why, count }) =>
        `${what} of ${count} large ${count === 1 ? 'object' : 'objects'}${why === '' ? '' : ` (${why})`}`,
    );
  }
}

/** Roles that the worker's role must be a member of, or become. */
class LackingRights {
  private count = 0;
  private first: number | undefined;
  private readonly owners = new Set<string>();

  /** Looks for the rights that restoring an object needs. @param owner the archived one */
  look(difference: LargeObjectDifference, owner: string | undefined): void {
    const { oid, isMissing, liveOwner, writable, owned, actsAsOwner } = difference;
    const describes = difference.owner || difference.rights || difference.comment;
    const needed = [
      ...(!writable || (describes && !owned) ? [liveOwner] : []),
      ...((isMissing || difference.owner) && !actsAsOwner ? [owner] : []),
    ].flatMap((role) => role ?? []);
    if (needed.length > 0) this.first ??= oid;
    this.add(needed.length > 0 ? 1 : 0, needed);
  }

  add(count: number, owners: string[]): void {
    this.count += count;
    for (const owner of owners) this.owners.add(owner);
  }

  /** @throws Failure OWNERSHIP_MISSING */
  async expectNone(session: Session): Promise<void> {
    if (this.count === 0) return;
    const [me] = await session.query<{ role: string }>('SELECT current_user AS role');
    const role = me?.role ?? '';
    const roles = await findRoles(session, [...this.owners]);
    const names = [...this.owners].map(quoteIdentifier);
    const grantable = [...this.owners].filter((name) => roles.get(name)?.superuser !== true);
    const objects = this.count === 1 ? '1 large object' : `${this.count} large objects`;
    const example = this.first === undefined ? '' : `, such as ${this.first}`;
    const hints = [
      'Nothing was changed.',
      ...(grantable.length > 0
        ? [`Run: GRANT ${grantable.map(quoteIdentifier).join(', ')} TO ${quoteIdentifier(role)};`]
        : []),
      ...(grantable.length < names.length
        ? ['A superuser should not own objects that a restore changes: let one change their owner.']
        : []),
    ];
    throw new Failure(
      'OWNERSHIP_MISSING',
      'permanent',
      `The role ${role} must be a member of ${names.join(', ')} to restore ${objects}${example}.`,
      { hint: hints.join(' ') },
    );
  }
}
