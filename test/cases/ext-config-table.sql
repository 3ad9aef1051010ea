-- schemas: app
-- want: whole
-- spoil: delete from app.settings where k <> 'shipped'; insert into app.settings values ('later', 'x'); select setval('app.settings_seq', 77)
-- expect: a table that belongs to an extension but is marked as its configuration: its rows are users', pg_dump keeps them
create schema app; create extension fidcfg schema app; insert into app.settings values ('mine', 'precious'); select nextval('app.settings_seq');
create table app.t (k text references app.settings); insert into app.t values ('mine');
