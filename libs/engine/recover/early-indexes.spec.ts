import { EarlyIndexes } from './early-indexes.js';
import type { ScriptStatement } from './script.js';

function statement(kind: string, sql: string): ScriptStatement {
  return { kind, schema: 's', name: sql, object: sql, sql };
}

const PLAIN = [
  statement('CONSTRAINT', 'ALTER TABLE ONLY s.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (a, "B");'),
  statement('CONSTRAINT', 'ALTER TABLE ONLY s.t\n    ADD CONSTRAINT t_key UNIQUE (a) INCLUDE (c);'),
  statement('INDEX', 'CREATE INDEX i ON s.t USING btree (a DESC, b);'),
  statement('INDEX', 'CREATE INDEX j ON s.t USING gin (c public.gin_trgm_ops);'),
];
const OTHERS = [
  statement('INDEX', 'CREATE INDEX k ON s.t USING btree (s.reads_a_table(a));'),
  statement('INDEX', 'CREATE INDEX l ON s.t USING btree (a) WHERE (s.reads_a_table(a) > 0);'),
  statement('CONSTRAINT', 'ALTER TABLE ONLY s.t\n    ADD CONSTRAINT e EXCLUDE USING gist (s.f(a) WITH =);'),
  statement('CHECK CONSTRAINT', 'ALTER TABLE s.t\n    ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;'),
];
const LATER = [
  statement('SET', "SET default_tablespace = 'other';"),
  statement('INDEX', 'CREATE INDEX m ON s.t USING btree (a);'),
];

test('indexes of columns alone need not wait for the rows of other tables', () => {
  const indexes = new EarlyIndexes([...PLAIN, ...OTHERS, ...LATER], true);
  expect(indexes.take({ schema: 's', name: 'u' })).toEqual([]);
  const taken = indexes.take({ schema: 's', name: 't' });
  expect(taken.flatMap(({ statements }) => statements)).toEqual(PLAIN);
  expect(indexes.others).toEqual([...OTHERS, ...LATER]);
});
