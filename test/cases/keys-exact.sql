-- schemas: app
-- want: inplace
-- expect: names and comments of partitions' parts of a key, states of its triggers, and the one of equal indexes that it relies on
create schema app; set search_path = app;
create table p (id int primary key) partition by range (id); create table p1 partition of p for values from (0) to (10); create table p2 partition of p for values from (10) to (20); insert into p values (1),(11);
create table c (id int, p int constraint own references p on delete cascade) partition by list (id); create table c1 partition of c for values in (1); create table c2 (id int, p int, constraint mine foreign key (p) references p on delete cascade);
alter table c attach partition c2 for values in (2); alter table c1 rename constraint own to other; insert into c values (1,1),(2,11);
comment on constraint other on c1 is 'renamed'; comment on constraint mine on c2 is 'attached'; comment on constraint own on c is 'root';
create table s (id int primary key, up int constraint up references s); insert into s values (1,1);
do $$ declare t record; begin for t in select tgname, row_number() over (order by tgname) n from pg_trigger where tgrelid = 'app.s'::regclass loop execute format('alter table app.s %s trigger %I', (array['disable','enable replica','enable always','disable'])[t.n], t.tgname); end loop; end $$;
alter table c1 disable trigger all;
create table q (a int, b int, c text); create unique index q_used on q (a, b); create table r (a int, b int, foreign key (a, b) references q (a, b)); create unique index q_twin on q (b, a) include (c); comment on index q_twin is 'twin';
reindex index concurrently q_used; insert into q values (1,2,'x'); insert into r values (1,2);
