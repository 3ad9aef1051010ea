-- schemas: app
-- want: inplace
-- expect: views that read each other in a circle through a materialized view, and rules on them: verify and restore must end
create schema app; set search_path = app;
create table t (id int); insert into t values (1),(2); create view v as select 1 as id; create materialized view a as select id from v;
create or replace view v as select id from a union select id from t; create materialized view b as select id from v;
create view w as select id from b; create rule r as on insert to w do instead insert into t select new.id where exists (select from v);
refresh materialized view a; refresh materialized view b;
