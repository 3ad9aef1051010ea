-- schemas: app
-- want: whole
-- spoil: refresh materialized view app.seen
-- expect: generated columns, partition keys, unique indexes and operators that read other tables, at two removes and in quoted names, find their rows
create schema app; set search_path = app;
create table "z Rate" (k text primary key, r int); insert into "z Rate" values ('x',7),('y',8);
create function rate(t text) returns int language plpgsql immutable as $$ begin return (select r from app."z Rate" where k = t); end $$;
create table m_factor (k text primary key, f int generated always as (app.rate(k)) stored); insert into m_factor values ('x'),('y');
create function factor(t text) returns int language sql immutable as $$ select coalesce((select f from app.m_factor where k = t), 0) $$;
create function via(t text) returns int language plpgsql immutable as $$ declare n int; begin n := app.factor(t); return n; end $$;
create table a_item (id int, k text, f int generated always as (app.via(k)) stored); insert into a_item values (1,'x'),(2,'y'); create unique index a_u on a_item (app.via(k));
create table a_part (k text) partition by list (app.via(k)); create table a_part_7 partition of a_part for values in (7); create table a_part_8 partition of a_part for values in (8);
insert into a_part values ('x'),('y');
create function near(a text, b text) returns boolean language plpgsql immutable as $$ begin return app.rate(a) = app.rate(b); end $$; create operator ~~~~ (leftarg = text, rightarg = text, function = near);
create table a_pred (k text); insert into a_pred values ('x'),('y'); create index a_p on a_pred (k) where k operator(app.~~~~) 'x';
create table a_parsed (k text); create function parsed(t text) returns int immutable begin atomic select r from app."z Rate" where k = t; end;
insert into a_parsed values ('x'),('y'); create index a_b on a_parsed (parsed(k));
create function seen() returns table (t text) language plpgsql set enable_seqscan = off as $$ begin return query
  select 'u ' || id from app.a_item where app.via(k) = 7 union all select 'p ' || k from app.a_pred where k operator(app.~~~~) 'x' union all select 'b ' || k from app.a_parsed where app.parsed(k) = 8; end $$;
create materialized view seen as select t from app.seen() t where exists (select from a_item);
