-- schemas: app
-- want: told:(settings.*rows|rows of .*settings)
-- spoil: delete from app.settings
-- expect: a table that belongs to an extension but is marked as its configuration: its rows are users', pg_dump keeps them
create schema app; create extension fidcfg schema app; insert into app.settings values ('mine', 'precious'); select nextval('app.settings_seq');
create table app.t (k text references app.settings); insert into app.t values ('mine');
