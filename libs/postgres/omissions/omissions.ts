import type { OmissionKind } from '#common';
import { listOtherSchemas, listReferenced, tableNames } from './belongings.js';
import { displayTable, type Relation } from '../connection/identifiers.js';
import { listConfigurationTables, omittedConfiguration } from '../extensions/configuration.js';
import { type Members, OF_EXTENSION } from '../catalog/members.js';
import type { Omission } from '../catalog/omission.js';
import { BY_NAME } from '../catalog/tables.js';
import type { Session } from '../connection/session.js';
import { listViewRows } from './view-rows.js';

/** The omitted part of a relation, whose definition is in the archive. */
const WHAT: Partial<Record<OmissionKind, string>> = {
  foreignTableRows: 'rows of ',
  unloggedTableRows: 'rows of ',
  sequenceState: 'the state of the sequence ',
};

/** Lists the objects that a backup of these members omits. Exclusions are none. */
export async function listOmissions(session: Session, members: Members): Promise<Omission[]> {
  const { relations, schemas } = members;
  const found = await session.query<Relation & { kind: OmissionKind; why: string; of: Relation[] | null }>(
    `SELECT n.nspname AS schema, c.relname AS name,
            CASE WHEN c.relkind = 'f' THEN 'foreignTableRows'
                 WHEN c.relpersistence = 'u' AND pg_is_in_recovery()
                 THEN CASE WHEN c.relkind = 'S' THEN 'sequenceState' ELSE 'unloggedTableRows' END
                 ELSE 'extensionRows' END AS kind,
            CASE WHEN c.relkind = 'f' THEN 'a foreign table: its rows are on another server'
                 WHEN c.relpersistence = 'u' AND pg_is_in_recovery()
                 THEN 'unlogged: a standby does not hold its contents; back up from the primary to keep them'
                 ELSE 'belongs to an extension, which makes it again' END AS why,
            CASE WHEN c.relkind = 'f' THEN
              (WITH RECURSIVE up (oid) AS (
                 SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid
                 UNION
                 SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.oid)
               SELECT ${tableNames('up.oid')} FROM up) END AS of
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE (c.oid = ANY ($1::oid[])
             AND (c.relkind = 'f' OR c.relkind IN ('r', 'S') AND c.relpersistence = 'u' AND pg_is_in_recovery())
             OR n.nspname = ANY ($2) AND c.relkind = 'r' AND ${OF_EXTENSION}
                 AND greatest(c.reltuples, pg_stat_get_live_tuples(c.oid)) > 0)
        AND NOT (c.relkind = 'r' AND EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
      ${BY_NAME}`,
    [relations, schemas],
  );
  const [others] = await session.query<{ temporary: string }>(
    `SELECT count(*) AS temporary FROM pg_class WHERE relkind IN ('r', 'p') AND relpersistence = 't'`,
  );
  const { temporary = '0' } = others ?? {};
  const omissions: Omission[] = found.map(({ kind, why, of, ...relation }) => ({
    kind,
    count: 1,
    what: `${WHAT[kind] ?? ''}${displayTable(relation)}`,
    why,
    ...(of !== null && { of }),
  }));
  const configuration = await listConfigurationTables(session);
  omissions.push(
    ...configuration.flatMap(omittedConfiguration),
    ...(await listOtherSchemas(session, members)),
    ...(await listReferenced(session, members)),
    ...(await listViewRows(session, members)),
  );
  if (temporary !== '0')
    omissions.push({
      kind: 'temporaryTable',
      count: Number(temporary),
      what: temporary === '1' ? '1 temporary table' : `${temporary} temporary tables`,
      why: 'they belong to the sessions that made them',
    });
  return omissions;
}
