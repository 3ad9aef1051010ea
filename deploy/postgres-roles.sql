-- Creates the roles of the API and of the workers in this database, which holds the accounts and the default
-- repository. Run it as a superuser; you may run it again. Pass the passwords as settings of the session:
--   PGOPTIONS='-c snapshotd.api_password=… -c snapshotd.worker_password=…' psql -d snapshotd -f postgres-roles.sql
--
-- snapshotd_api     owns the accounts, the sessions and the audit. It may act as snapshotd_worker (SET ROLE), because
--                   its migrations make the tables of the default repository.
-- snapshotd_worker  owns the default repository, as restores need, and may create databases: a drill recovers an archive
--                   into a scratch database of this server, and drops it. It has no right on the accounts.
DO $$
DECLARE
  one record;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
  FOR one IN
    SELECT name, databases, current_setting(setting) AS password
      FROM (VALUES ('snapshotd_api', 'NOCREATEDB', 'snapshotd.api_password'),
                   ('snapshotd_worker', 'CREATEDB', 'snapshotd.worker_password')) AS role (name, databases, setting)
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one.name) THEN
      EXECUTE format('CREATE ROLE %I', one.name);
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER %s NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD %L',
                   one.name, one.databases, one.password);
  END LOOP;
  -- Before the grant, which copies it: what the API may do as the worker, it does on purpose only.
  ALTER ROLE snapshotd_api NOINHERIT;
  GRANT snapshotd_worker TO snapshotd_api;

  -- CREATE is for the migrations' schemas, and for restores into new schemas.
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT, CREATE ON DATABASE %I TO snapshotd_api, snapshotd_worker', current_database());
  CREATE SCHEMA IF NOT EXISTS snapshotd;
  ALTER SCHEMA snapshotd OWNER TO snapshotd_api;
  CREATE SCHEMA IF NOT EXISTS repository;
  ALTER SCHEMA repository OWNER TO snapshotd_worker;
  GRANT USAGE, CREATE ON SCHEMA repository TO snapshotd_api;

  -- Objects that an earlier version made as a superuser. Indexes and sequences of columns follow their tables.
  FOR one IN
    SELECT format('ALTER %s %s OWNER TO %I', thing.kind, thing.name, home.owner) AS statement
      FROM (VALUES ('snapshotd', 'snapshotd_api'), ('repository', 'snapshotd_worker')) AS home (schema, owner)
      JOIN pg_namespace n ON n.nspname = home.schema
      CROSS JOIN LATERAL (
        SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                              ELSE 'TABLE' END AS kind,
               c.oid::regclass::text AS name, c.relowner AS owner
          FROM pg_class c
         WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
           AND NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                              AND c.relkind = 'S')
        UNION ALL
        SELECT 'ROUTINE', p.oid::regprocedure::text, p.proowner FROM pg_proc p WHERE p.pronamespace = n.oid
        UNION ALL
        SELECT 'TYPE', t.oid::regtype::text, t.typowner FROM pg_type t
         WHERE t.typnamespace = n.oid AND t.typtype IN ('d', 'e', 'r') ) AS thing
     WHERE thing.owner <> home.owner::regrole
  LOOP
    EXECUTE one.statement;
  END LOOP;
END
$$;
