-- schemas: app
-- want: whole
-- spoil: refresh materialized view app.z; refresh materialized view app.o; refresh materialized view app.a
-- expect: a is over o, whose function reads z: z is refreshed first, then o, then a
create schema app; set search_path = app;
create table r (id int primary key); insert into r values (1),(2);
create function f() returns bigint language sql as 'select 0::bigint'; create materialized view o as select app.f() as n; create materialized view a as select n from o; create materialized view z as select count(*) as n from r;
create or replace function f() returns bigint language sql as 'select n from app.z'; refresh materialized view o; refresh materialized view a;
