/** A right on a large object, as its owner or a holder of a grant option has granted it. */
export interface LargeObjectRight {
  grantor: string;
  /** A role; null for PUBLIC. */
  grantee: string | null;
  privilege: 'SELECT' | 'UPDATE';
  grantable: boolean;
}

/**
 * SQL: the rights in an access control list as a JSON array, sorted, so that equal rights are equal texts.
 * @param list SQL of type aclitem[]
 */
export const rightsOf = (list: string) => `(
  SELECT coalesce(jsonb_agg(jsonb_build_object(
           'grantor', pg_get_userbyid(acl.grantor), 'grantee', CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee) END,
           'privilege', acl.privilege_type, 'grantable', acl.is_grantable)
         ORDER BY pg_get_userbyid(acl.grantor)::text COLLATE "C", acl.grantee <> 0, pg_get_userbyid(acl.grantee)::text COLLATE "C", acl.privilege_type COLLATE "C"), '[]')
    FROM aclexplode(${list}) AS acl)`;

/** SQL: whether the role is a superuser, or the server checks no privileges of large objects for it. */
export const SKIPS_PRIVILEGES = `(current_setting('lo_compat_privileges')::boolean
  OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))`;

/**
 * SQL: whether the role has a privilege on the large object \`m\` of pg_largeobject_metadata. Before version 18 PostgreSQL
 * has no function for it.
 */
export const hasPrivilege = (privilege: LargeObjectRight['privilege']) => `(${SKIPS_PRIVILEGES} OR EXISTS (
  SELECT FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) AS acl
   WHERE acl.privilege_type = '${privilege}' AND (acl.grantee = 0 OR pg_has_role(acl.grantee, 'USAGE'))))`;
