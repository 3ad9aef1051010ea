-- schemas: app
-- empty: no
-- want: honest
-- role: fid_owner
-- expect: as an ordinary owner (no superuser): keys, checks, triggers, big indexes, materialized views of another owner
do $$ begin if not exists (select from pg_roles where rolname='fid_owner') then create role fid_owner login bypassrls; end if; if not exists (select from pg_roles where rolname='fid_else') then create role fid_else; end if; end $$;
create schema app authorization fid_owner; do $$ begin execute format('grant create on database %I to fid_owner', current_database()); end $$; set role fid_owner; set search_path = app;
create table r (id serial primary key, v text); insert into r(v) select repeat('x',200) from generate_series(1,30000); create table c (id int references r, t text check (t <> '')); insert into c values (1,'x'); create materialized view m as select count(*) from r; create unlogged table u (id int generated always as identity); insert into u default values;
reset role; create materialized view app.m2 as select count(*) from app.r; alter materialized view app.m2 owner to fid_else; grant usage on schema app to fid_else; grant select on app.r to fid_else; grant select on app.m2 to fid_owner;
