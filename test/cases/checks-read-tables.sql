-- schemas: app
-- want: inplace
-- expect: checks of domains, parents and partitions that read tables, with what inherits them, its comments and whether it was validated
create schema app; set search_path = app;
create table z_kind (k text primary key); insert into z_kind values ('x'),('y');
create function known(t text) returns boolean language plpgsql stable as $$ begin return exists (select from app.z_kind where k = t); end $$;
create domain kind as text constraint known check (app.known(value)); comment on constraint known on domain kind is 'as app.z_kind has it'; create type pair as (a kind, b int);
create table a_domain (d kind, ds kind[], p pair); insert into a_domain values ('x', '{x,y}', row('y', 1));
create table a_parent (k text, n int, constraint listed check (app.known(k)), constraint alone check (app.known(k)) no inherit);
create table a_child (constraint listed check (app.known(k))) inherits (a_parent); create table a_grandchild () inherits (a_child); create table a_only () inherits (a_parent);
insert into a_parent values ('x', 1); insert into a_child values ('y', -1); insert into a_only values ('y', 2);
comment on constraint listed on a_parent is 'parent'; comment on constraint listed on a_child is 'child'; comment on constraint listed on a_grandchild is 'grandchild'; comment on constraint listed on a_only is 'only';
alter table a_parent add constraint positive check (n > 0) not valid; alter table a_only validate constraint positive; comment on constraint positive on a_only is 'valid here';
create table a_part (k text check (app.known(k)), n int) partition by list (n); create table a_part_1 partition of a_part for values in (1); insert into a_part values ('x', 1);
comment on constraint a_part_k_check on a_part_1 is 'of the partition';
