-- schemas: app
-- want: honest
-- server: max_locks_per_transaction = 15
-- expect: more tables than a server's lock table has room for (as 2,500 under the default settings): pg_dump and psql do it
create schema app;
do $$ begin for g in 1..600 loop execute format('create table app.t%s (id serial primary key, v text unique); insert into app.t%1$s(v) values (1),(2)', g); if g % 100 = 0 then commit; end if; end loop; end $$;
