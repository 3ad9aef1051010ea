-- schemas: app
-- want: whole
-- expect: an exclusion constraint over a function that reads another table: restored
create schema app; set search_path = app;
create table z (k text primary key, n int); insert into z values ('x',7),('y',8);
create function f(t text) returns int language plpgsql immutable as $$ begin return (select n from app.z where k = t); end $$;
create table c (k text, exclude using btree (app.f(k) with =)); insert into c values ('x'),('y');
