import { Failure } from '#common';
import { type Setting, settingOf } from '../connection/configured-settings.js';
import type { Session } from '../connection/session.js';

/** The properties of a database that CREATE DATABASE, ALTER DATABASE, COMMENT and GRANT set. */
export interface DatabaseProperties {
  owner: string;
  encoding: string;
  locale: {
    provider: 'libc' | 'icu' | 'builtin';
    /** LC_COLLATE and LC_CTYPE. */
    collate: string;
    ctype: string;
    /** The locale of the providers icu and builtin. */
    name: string | null;
    icuRules: string | null;
    /** The version of the collation when the database was created or refreshed. */
    collationVersion: string | null;
  };
  /** -1 for none. */
  connectionLimit: number;
  allowConnections: boolean;
  isTemplate: boolean;
  tablespace: string;
  comment: string | null;
  /** By ALTER DATABASE SET, and with a role by ALTER ROLE IN DATABASE SET. */
  settings: (Setting & { role: string | null })[];
  /** null if GRANT and REVOKE never changed them. */
  rights: Privilege[] | null;
  /** pg_dump does not say whether it was dropped. */
  hasPublicSchema: boolean;
}

export interface Privilege {
  /** null for PUBLIC. */
  grantee: string | null;
  grantor: string;
  /** Such as CONNECT. */
  privilege: string;
  grantable: boolean;
}

const PROVIDERS: Record<string, DatabaseProperties['locale']['provider']> = {
  c: 'libc',
  i: 'icu',
  b: 'builtin',
};

/** A row of pg_database. Older servers lack columns: 14 datlocprovider; up to 16 datlocale is daticulocale. */
interface DatabaseRow {
  datlocprovider?: string;
  datcollate: string;
  datctype: string;
  daticulocale?: string | null;
  datlocale?: string | null;
  daticurules?: string | null;
  datcollversion?: string | null;
  datconnlimit: number;
  datallowconn: boolean;
  datistemplate: boolean;
}

/**
 * Reads the properties of the session's database.
 * https://www.postgresql.org/docs/current/catalog-pg-database.html
 */
export async function databaseProperties(session: Session): Promise<DatabaseProperties> {
  const [facts] = await session.query<
    Pick<
      DatabaseProperties,
      'owner' | 'encoding' | 'tablespace' | 'comment' | 'rights' | 'hasPublicSchema'
    > & {
      row: DatabaseRow;
      settings: { role: string | null; setting: string }[];
    }
  >(
    `SELECT to_jsonb(d) AS row, pg_get_userbyid(d.datdba)::text AS owner, pg_encoding_to_char(d.encoding) AS encoding,
            t.spcname::text AS tablespace, shobj_description(d.oid, 'pg_database') AS comment,
            to_regnamespace('public') IS NOT NULL AS "hasPublicSchema",
            coalesce((SELECT json_agg(json_build_object('role', r.rolname, 'setting', setting.text)
                                      ORDER BY r.rolname COLLATE "C" NULLS FIRST, setting.number)
                        FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
                        CROSS JOIN unnest(s.setconfig) WITH ORDINALITY AS setting (text, number)
                       WHERE s.setdatabase = d.oid), '[]') AS settings,
            CASE WHEN d.datacl IS NOT NULL THEN
              coalesce((SELECT json_agg(json_build_object(
                                 'grantee', CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END,
                                 'grantor', pg_get_userbyid(a.grantor),
                                 'privilege', a.privilege_type, 'grantable', a.is_grantable))
                          FROM aclexplode(d.datacl) AS a), '[]') END AS rights
       FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database()`,
  );
  if (facts === undefined)
    throw new Failure('REPOSITORY_CHANGING', 'transient', 'The database was renamed while its backup ran.', {
      hint: 'Set REPOSITORY_URL to its new name, and start the backup again.',
    });
  const { row, settings, ...others } = facts;
  return {
    ...others,
    locale: {
      provider: PROVIDERS[row.datlocprovider ?? 'c'] ?? 'libc',
      collate: row.datcollate,
      ctype: row.datctype,
      name: row.datlocale ?? row.daticulocale ?? null,
      icuRules: row.daticurules ?? null,
      collationVersion: row.datcollversion ?? null,
    },
    connectionLimit: row.datconnlimit,
    allowConnections: row.datallowconn,
    isTemplate: row.datistemplate,
    settings: settings.map(({ role, setting }) => ({ role, ...settingOf(setting) })),
  };
}
