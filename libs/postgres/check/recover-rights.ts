import type { Members } from '../catalog/members.js';
import type { Session } from '../connection/session.js';

/** The rights of a role that decide whether it can recover these members into a new database of this server. */
export interface RecoverRights {
  role: string;
  superuser: boolean;
  createsDatabases: boolean;
  /** Owners whose rights it lacks, and that are no superusers. */
  owners: string[];
  /** The same of superusers. */
  superusers: string[];
  /** Objects that only a superuser may create. */
  onlySuperuser: string[];
  /** PostgreSQL 16 lets a role inherit another one's rights without SET ROLE, and the other way round. */
  hasOptions: boolean;
}

/** Returns the rights that a recover needs, from the owners and the objects of the database. Reads only the catalog. */
export async function recoverRights(
  session: Session,
  { relations, schemas }: Pick<Members, 'relations' | 'schemas'>,
): Promise<RecoverRights> {
  const [rights] = await session.query<RecoverRights & Record<string, unknown>>(
    `WITH me AS (SELECT rolname, rolsuper, rolcreatedb, current_setting('server_version_num')::int >= 160000 AS options
                   FROM pg_roles WHERE rolname = current_user),
          owner AS (
            SELECT r.rolname, r.rolsuper FROM pg_roles r, me
             WHERE r.oid IN (SELECT relowner FROM pg_class WHERE oid = ANY ($1::oid[])
                             UNION SELECT nspowner FROM pg_namespace WHERE nspname = ANY ($2)
                             UNION SELECT proowner FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY ($2)
                             UNION SELECT typowner FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = ANY ($2)
                             UNION SELECT datdba FROM pg_database WHERE datname = current_database())
               AND r.rolname <> 'pg_database_owner'
               AND NOT (pg_has_role(r.oid, 'USAGE') AND pg_has_role(r.oid, CASE WHEN me.options THEN 'SET' ELSE 'MEMBER' END)))
     SELECT rolname::text AS role, rolsuper AS superuser, rolcreatedb AS "createsDatabases", options AS "hasOptions",
            ARRAY(SELECT rolname::text FROM owner WHERE NOT rolsuper ORDER BY 1) AS owners,
            ARRAY(SELECT rolname::text FROM owner WHERE rolsuper ORDER BY 1) AS superusers,
            ARRAY(SELECT 'the extension ' || e.extname FROM pg_extension e
                    JOIN pg_available_extension_versions v ON v.name = e.extname AND v.version = e.extversion
                   WHERE v.superuser AND NOT v.trusted
                  UNION ALL SELECT 'the event trigger ' || evtname FROM pg_event_trigger t
                   WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')
                  UNION ALL SELECT 'the publication ' || pubname FROM pg_publication WHERE puballtables
                  UNION ALL SELECT 'the foreign-data wrapper ' || fdwname FROM pg_foreign_data_wrapper w
                   WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_foreign_data_wrapper'::regclass AND d.objid = w.oid AND d.deptype = 'e')
                  ORDER BY 1) AS "onlySuperuser"
       FROM me`,
    [relations, schemas],
  );
  if (rights === undefined) throw new Error('PostgreSQL answered with no row');
  return rights;
}
