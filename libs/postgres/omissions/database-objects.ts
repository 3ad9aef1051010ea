import type { Omission } from '../catalog/omission.js';
import type { Session } from '../connection/session.js';

/** Objects that one omission names. */
const NAMED = 10;

const KINDS = {
  eventTrigger: ['the event trigger', 'the event triggers'],
  publication: ['the publication', 'the publications'],
  subscription: ['the subscription', 'the subscriptions'],
  defaultRights: ['the default rights of the role', 'the default rights of the roles'],
} as const;

/** Lists the objects that belong to no schema, so that the definitions of listed schemas omit them. */
export async function listDatabaseObjects(session: Session): Promise<Omission[]> {
  const found = await session.query<{ kind: keyof typeof KINDS; names: string[] }>(
    `SELECT kind, json_agg(name ORDER BY name COLLATE "C") AS names
       FROM (SELECT 'eventTrigger' AS kind, evtname::text AS name FROM pg_event_trigger t
              WHERE NOT EXISTS (SELECT FROM pg_depend d
                                 WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')
             UNION ALL SELECT 'publication', pubname FROM pg_publication
             UNION ALL SELECT 'subscription', subname FROM pg_subscription
                        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
             UNION ALL SELECT DISTINCT 'defaultRights', pg_get_userbyid(defaclrole) FROM pg_default_acl WHERE defaclnamespace = 0
            ) AS object
      GROUP BY kind ORDER BY kind`,
  );
  return found.map(({ kind, names }) => {
    const [one, several] = KINDS[kind];
    const more = names.length - NAMED;
    return {
      kind,
      count: names.length,
      what: `${names.length === 1 ? one : several} ${names.slice(0, NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
      why: 'it belongs to no schema: only archives of all schemas (REPOSITORY_SCHEMAS=*) hold it',
    };
  });
}
