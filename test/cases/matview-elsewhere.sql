-- schemas: app
-- want: inplace
-- spoil: refresh materialized view rep.m; refresh materialized view app.x; refresh materialized view app.o
-- expect: materialized views of a schema that is not listed, or that ask a query in a text, show the restored rows; those that were not populated stay so
create schema app; create schema rep; set search_path = app;
create table t (id int); insert into t values (1),(2); create materialized view rep.m as select count(*) from app.t;
create materialized view rep.never as select count(*) from app.t with no data;
create materialized view x as select query_to_xml('select * from app.t', false, false, '')::text as x;
create function add(bigint, int) returns bigint language sql as 'select $1 + (select count(*) from app.t)'; create operator @@@ (leftarg = bigint, rightarg = int, function = add);
create materialized view o as select 1::bigint operator(app.@@@) 2 as n;
