import { quoteIdentifier, quoteLiteral } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import {
  compareLargeObjects,
  type LargeObject,
  type LargeObjectBatch,
  type LargeObjectDifference,
} from './compare-large-objects.js';
import type { LargeObjectRight } from './rights.js';

const INV_WRITE = 131_072;
/** The distance of the pages that exist before contents are written. */
const MARK_BYTES = 1024 * 1024;

/** Rows of CSV with pieces of large objects: OID, offset, and bytes as \x and hexadecimal digits. */
export interface Pieces {
  /** Lines, without the last line break. */
  text: Buffer;
  /** The OID of each line. */
  oids: number[];
  /** The offset and the number of bytes of each line. */
  offsets: number[];
  lengths: number[];
}

/**
 * Makes the objects of a batch exist, existing ones with their archived lengths. New ones are created by their owner:
 * changing the owner of each later would take a lock for each.
 *
 * A write passes over the removed pages of its object up to the next existing one, while a transaction may still
 * see them, and so the time could grow with the square of the length. Therefore existing contents stay to be overwritten,
 * and pages at equal distances are written first, the last one first.
 */
export async function prepareLargeObjects(session: Session, batch: LargeObjectBatch): Promise<void> {
  const differences = await compareLargeObjects(session, batch);
  const missing = new Set(differences.filter(({ isMissing }) => isMissing).map(({ oid }) => oid));
  const created = batch.objects.filter(({ oid }) => missing.has(oid));
  for (const [owner, objects] of groupBy(created, (object) => object.owner))
    await actingAs(session, owner, () =>
      session.query('SELECT count(lo_create(oid)) FROM unnest($1::oid[]) AS oid', [oidsOf(objects)]),
    );
  const existing = batch.objects.filter(({ oid }) => !missing.has(oid));
  await session.query(
    `SELECT count(lo_close(CASE WHEN lo_truncate64(descriptor, bytes) = 0 THEN descriptor END))
       FROM (SELECT lo_open(oid, ${INV_WRITE}) AS descriptor, bytes FROM unnest($1::oid[], $2::bigint[]) AS object (oid, bytes) OFFSET 0) AS opened`,
    [oidsOf(existing), existing.map(({ bytes }) => bytes)],
  );
  const long = batch.objects.filter(({ bytes }) => bytes > MARK_BYTES);
  await session.query(
    `SELECT count(*) FROM (SELECT lo_put(oid, position, '\\x00')
                             FROM unnest($1::oid[], $2::bigint[]) AS object (oid, bytes), generate_series(bytes - 1, 0, ${-MARK_BYTES}) AS position OFFSET 0) AS written`,
    [oidsOf(long), long.map(({ bytes }) => bytes)],
  );
}

/** SQL: the lines of $1 as rows. */
const LINES = `(SELECT split_part(line, ',', 1)::oid AS oid, split_part(line, ',', 2)::bigint AS position, split_part(line, ',', 3)::bytea AS bytes
                  FROM string_to_table($1::text, E'\\n') AS line OFFSET 0) AS pieces`;

/** Writes pieces into their objects. */
export async function putPieces(session: Session, { text }: Pieces): Promise<void> {
  await session.query(
    `SELECT count(*) FROM (SELECT lo_put(oid, position, bytes) FROM ${LINES} OFFSET 0) AS written`,
    [text],
  );
}

/**
 * Gives the objects of a batch their owners, rights and comments where they differ.
 * @returns the OIDs of those whose rights still differ
 */
export async function describeLargeObjects(session: Session, batch: LargeObjectBatch): Promise<number[]> {
  const archived = new Map(batch.objects.map((object) => [object.oid, object]));
  const before = await compareLargeObjects(session, batch);
  await runAll(
    session,
    before.flatMap(({ oid, owner }) => {
      const wanted = archived.get(oid)?.owner;
      return owner && wanted !== undefined
        ? [`ALTER LARGE OBJECT ${oid} OWNER TO ${quoteIdentifier(wanted)}`]
        : [];
    }),
  );
  await runAll(
    session,
    before.flatMap(({ oid, comment }) => {
      const wanted = archived.get(oid)?.comment ?? null;
      return comment
        ? [`COMMENT ON LARGE OBJECT ${oid} IS ${wanted === null ? 'NULL' : quoteLiteral(wanted)}`]
        : [];
    }),
  );
  // A new owner takes over the rights of the old one.
  const withRights = before.filter(({ rights, owner }) => rights || owner);
  if (withRights.length === 0) return [];
  const differing = async () => (await compareLargeObjects(session, batch)).filter(({ rights }) => rights);
  const same = ({ oid, holders, liveOwner }: LargeObjectDifference) =>
    JSON.stringify([holders, liveOwner, archived.get(oid)?.rights]);
  for (const [, group] of groupBy(await differing(), same)) await grant(session, group, archived);
  return oidsOf(await differing());
}

/** Gives objects with equal owners, equal present rights and equal wanted rights the latter. */
async function grant(
  session: Session,
  group: LargeObjectDifference[],
  archived: Map<number, LargeObject>,
): Promise<void> {
  const [first] = group;
  const owner = first?.liveOwner;
  if (first === undefined || owner === null || owner === undefined) return;
  const objects = `LARGE OBJECT ${oidsOf(group).join(', ')}`;
  const holders = first.holders.map(nameOf);
  if (holders.length > 0) await session.query(`REVOKE ALL ON ${objects} FROM ${holders.join(', ')} CASCADE`);
  const defaults = (['SELECT', 'UPDATE'] as const).map((privilege): LargeObjectRight => ({
    grantor: owner,
    grantee: owner,
    privilege,
    grantable: false,
  }));
  let waiting = archived.get(first.oid)?.rights ?? defaults;
  // A grantor needs its own grant first.
  for (let grantors = new Set([owner]); ;) {
    const now = waiting.filter(({ grantor }) => grantors.has(grantor));
    if (now.length === 0) return;
    waiting = waiting.filter((right) => !now.includes(right));
    for (const { grantor, grantee, privilege, grantable } of now)
      await actingAs(session, grantor === owner ? undefined : grantor, () =>
        session.query(
          `GRANT ${privilege} ON ${objects} TO ${nameOf(grantee)}${grantable ? ' WITH GRANT OPTION' : ''}`,
        ),
      );
    grantors = new Set(now.flatMap(({ grantee }) => grantee ?? []));
  }
}

function nameOf(grantee: string | null): string {
  return grantee === null ? 'PUBLIC' : quoteIdentifier(grantee);
}

/** Runs work with the rights of another role. It must run no code of a user. @param role undefined for its own */
async function actingAs(
  session: Session,
  role: string | undefined,
  work: () => Promise<unknown>,
): Promise<void> {
  if (role === undefined) return void (await work());
  await session.query(`SET LOCAL ROLE ${quoteIdentifier(role)}`);
  await work();
  await session.query('SET LOCAL ROLE NONE');
}

async function runAll(session: Session, statements: string[]): Promise<void> {
  if (statements.length > 0) await session.query(statements.join('; '));
}

function oidsOf(objects: { oid: number }[]): number[] {
  return objects.map(({ oid }) => oid);
}

function groupBy<Item, Key>(items: Item[], keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
