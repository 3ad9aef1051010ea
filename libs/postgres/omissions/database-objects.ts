import type { Omission } from '../catalog/omission.js';
import type { Session } from '../connection/session.js';
import { objectKey } from '../schema-dump/locked-objects.js';

/** Objects that one omission names. */
const NAMED = 10;

const KINDS = {
  eventTrigger: ['the event trigger', 'the event triggers'],
  publication: ['the publication', 'the publications'],
  subscription: ['the subscription', 'the subscriptions'],
  defaultRights: ['the default rights of the role', 'the default rights of the roles'],
} as const;

/**
 * Lists the objects that belong to no schema and are missing in the definitions: those of listed schemas have none, and
 * pg_dump reads subscriptions for superusers only.
 */
export async function listDatabaseObjects(session: Session, listsSchemas: boolean): Promise<Omission[]> {
  const found = await session.query<{ kind: keyof typeof KINDS; names: string[] }>(
    `SELECT kind, json_agg(name ORDER BY name COLLATE "C") AS names
       FROM (SELECT 'eventTrigger' AS kind, evtname::text AS name FROM pg_event_trigger t
              WHERE $1 AND NOT EXISTS (SELECT FROM pg_depend d
                                        WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')
             UNION ALL SELECT 'publication', pubname FROM pg_publication WHERE $1
             UNION ALL SELECT 'subscription', subname FROM pg_subscription
                        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                          AND ($1 OR current_setting('is_superuser') = 'off')
             UNION ALL SELECT DISTINCT 'defaultRights', pg_get_userbyid(defaclrole) FROM pg_default_acl WHERE $1 AND defaclnamespace = 0
            ) AS object
      GROUP BY kind ORDER BY kind`,
    [listsSchemas],
  );
  return found.map(({ kind, names }) => {
    const [one, several] = KINDS[kind];
    const more = names.length - NAMED;
    return {
      kind,
      count: names.length,
      what: `${names.length === 1 ? one : several} ${names.slice(0, NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
      why: listsSchemas
        ? 'it belongs to no schema: only archives of all schemas (REPOSITORY_SCHEMAS=*) hold it'
        : 'pg_dump reads subscriptions for superusers only; keep CREATE SUBSCRIPTION in your migrations',
    };
  });
}

/**
 * Lists the user mappings whose options, such as the name of the user elsewhere, PostgreSQL hides from the role. The
 * definitions have the mappings without them. https://www.postgresql.org/docs/current/view-pg-user-mappings.html
 * @param isHeld whether the definitions hold the server of this {@link objectKey}
 */
export async function listHiddenMappings(
  session: Session,
  isHeld: (key: string) => boolean,
): Promise<Omission[]> {
  const hidden = await session.query<{ catalog: number; server: number; role: string; name: string }>(
    `SELECT s.tableoid::int8::float8 AS catalog, s.oid::int8::float8 AS server, quote_ident(m.usename) AS role, quote_ident(m.srvname) AS name
       FROM pg_user_mappings m JOIN pg_foreign_server s ON s.oid = m.srvid
      WHERE current_setting('is_superuser') = 'off'
        AND NOT CASE WHEN m.umuser = 0 THEN pg_has_role(s.srvowner, 'USAGE')
                     ELSE m.usename = current_user AND (pg_has_role(s.srvowner, 'USAGE') OR has_server_privilege(s.oid, 'USAGE')) END
      ORDER BY m.usename COLLATE "C", m.srvname COLLATE "C"`,
  );
  return hidden
    .filter(({ catalog, server }) => isHeld(objectKey(catalog, server)))
    .map(({ role, name }) => ({
      kind: 'secret',
      count: 1,
      what: `options of the user mapping of ${role} for the server ${name}`,
      why: `PostgreSQL hides them from this role, if there are any; set them again: ALTER USER MAPPING FOR ${role} SERVER ${name} OPTIONS (…)`,
    }));
}
