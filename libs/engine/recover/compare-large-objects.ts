import type { ManifestLargeObjects, OpenArchive } from '#archive';
import type { LargeObjectBatch, Session } from '#postgres';
import { largeObjectBatches } from '../restore/archived-large-objects.js';

/**
 * Compares the large objects of the new database with the archive's list: their OIDs, and their lengths if the role may
 * read PostgreSQL's table of their pages.
 * @returns the differences, for people
 */
export async function compareLargeObjects(
  session: Session,
  archive: OpenArchive,
  archived: ManifestLargeObjects | undefined,
): Promise<string[]> {
  const none = { metadata: undefined, entries: [], bytes: 0 };
  const [may] = await session.query<{ readPages: boolean }>(
    `SELECT has_table_privilege('pg_catalog.pg_largeobject', 'SELECT') AS "readPages"`,
  );
  const differences: string[] = [];
  for await (const batch of largeObjectBatches(archive, archived ?? none))
    differences.push(...(await compareBatch(session, batch, may?.readPages === true)));
  return differences;
}

/** A page has 2,048 bytes; the last one may have fewer, and those of a gap are missing. */
const LENGTH = `coalesce((SELECT pageno * 2048::bigint + octet_length(data) FROM pg_catalog.pg_largeobject
                           WHERE loid = m.oid ORDER BY pageno DESC LIMIT 1), 0)`;

async function compareBatch(
  session: Session,
  { objects, from, to }: LargeObjectBatch,
  readsPages: boolean,
): Promise<string[]> {
  const rows = await session.query<{ difference: string }>(
    `SELECT CASE WHEN m.oid IS NULL THEN format('the large object %s is missing', w.oid)
                 WHEN w.oid IS NULL THEN format('the large object %s is not in the archive', m.oid)
                 ELSE format('the large object %s has %s bytes in place of %s', m.oid, m.bytes, w.bytes) END AS difference
       FROM unnest($1::oid[], $2::bigint[]) AS w (oid, bytes)
       FULL JOIN (SELECT oid, ${readsPages ? LENGTH : 'NULL::bigint'} AS bytes
                    FROM pg_catalog.pg_largeobject_metadata AS m WHERE oid BETWEEN $3::oid AND $4::oid) AS m ON m.oid = w.oid
      WHERE m.oid IS NULL OR w.oid IS NULL OR m.bytes <> w.bytes
      ORDER BY coalesce(w.oid, m.oid) LIMIT 100`,
    [objects.map(({ oid }) => oid), objects.map(({ bytes }) => bytes), from, to],
  );
  return rows.map(({ difference }) => difference);
}
