import { inspect } from 'node:util';
import { errorDetails, Failure, fullText } from '#common';
import type { ObjectStore } from '#storage';
import { runBackup, runRestore } from '../support/heart.js';
import { newDatabase, openStore, postgresMajors, servers, shareOf, sql } from '../support/servers.js';

/** It looks like the places that PostgreSQL names, so that a careless reader of these would take it for a name. */
const VALUE = `swordfish, line 7, column swordfish: "swordfish"\nCOPY swordfish, line 8, column swordfish: swordfish`;

interface Case {
  /** Of the table s.t, whose column v holds the value in its second row. */
  title: string;
  /** Statements after the backup, with the table empty. */
  change: string;
  message: RegExp;
  /** The further text for users who may read rows, if any. */
  full?: RegExp;
  /** Whether the restore completes, and names a view that it did not refresh. */
  stale?: true;
}

const RAISE = (options: string) =>
  `CREATE FUNCTION s.refuse(v text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
     BEGIN IF length(v) > 9 THEN RAISE EXCEPTION 'no %', v USING ${options}; END IF; RETURN true; END $$;
   ALTER TABLE s.t ADD CHECK (s.refuse(v))`;

const CASES: Case[] = [
  {
    title: 'a table that a value names and that is gone',
    change: `DROP TABLE o."swordfish, line 7, column swordfish: swordfish"`,
    message: /, loading s\.t, says: undefined_table, column m, line 4; the scope everything shows/,
    full: /says: relation "o.swordfish, line 7[^]*CONTEXT: COPY t, line 4, column m: "o\."sword/,
  },
  {
    title: 'a label that an enum lost',
    change: `ALTER TYPE s.mood RENAME VALUE 'swordfish, line 7, column swordfish: swordfish' TO 'calm'`,
    message: /the type s\.mood lacks labels of the archive, or has them in another order\.$/,
  },
  {
    title: 'a duplicate key',
    change: `CREATE UNIQUE INDEX t_twice ON s.t ((1))`,
    message: /says: unique_violation, constraint t_twice, table s\.t, line 4; .* \(SQLSTATE 23505\)\.$/,
    full: /duplicate key value violates unique constraint "t_twice"[^]*DETAIL: Key \(\(1\)\)=\(1\) already exists/,
  },
  {
    title: 'a check',
    change: `ALTER TABLE s.t ADD CONSTRAINT t_short CHECK (length(v) < 9)`,
    message: /^Rows violate the check t_short of s\.t\.$/,
    full: /violates check constraint "t_short"[^]*DETAIL: Failing row contains \(2, swordfish/,
  },
  {
    title: 'an index over a cast',
    change: `CREATE INDEX ON s.t ((v::int))`,
    message: /says: invalid_text_representation(, line \d)?; /,
    full: /invalid input syntax for type integer: "swordfish/,
  },
  {
    title: 'a name that is looked for',
    change: `ALTER TABLE s.t ADD CHECK (CASE WHEN i = 2 THEN split_part(v, ',', 1)::regclass IS NOT NULL END)`,
    message: /says: undefined_table, line 4; .* \(SQLSTATE 42P01\)\.$/,
    full: /relation "swordfish" does not exist/,
  },
  {
    title: 'a database that is looked for',
    change: `ALTER TABLE s.t ADD CHECK (CASE WHEN i = 2 THEN pg_database_size(split_part(v, ',', 1)) > 0 END)`,
    message: /says: invalid_catalog_name, line 4; /,
    full: /database "swordfish" does not exist/,
  },
  {
    title: 'a database that a materialized view looks for',
    change: `CREATE MATERIALIZED VIEW s.v AS SELECT has_database_privilege(split_part(v, ',', 1), 'connect') FROM s.t WHERE i = 2`,
    message: /says: invalid_catalog_name; /,
    stale: true,
  },
  {
    title: 'a file that may not be read',
    change: `CREATE MATERIALIZED VIEW s.v AS SELECT pg_read_file('/root/' || split_part(v, ',', 1)) FROM s.t WHERE i = 2`,
    message: /says: insufficient_privilege; /,
    stale: true,
  },
  {
    title: 'a materialized view over a cast',
    change: `CREATE MATERIALIZED VIEW s.v AS SELECT v::int FROM s.t`,
    message: /says: invalid_text_representation; /,
    stale: true,
  },
  ...['raise_exception', 'query_canceled', 'insufficient_privilege', 'lock_not_available', 'XX001'].map(
    (condition) => ({
      title: `what a function raises as ${condition}`,
      change: RAISE(
        `ERRCODE = '${condition}', DETAIL = v, HINT = v, COLUMN = v, CONSTRAINT = v, TABLE = v, SCHEMA = v, DATATYPE = v`,
      ),
      message: new RegExp(
        `says: ${condition === 'XX001' ? 'data_corrupted' : condition}; the scope everything`,
      ),
      full: /says: no swordfish[^]*CONTEXT: PL\/pgSQL function/,
    }),
  ),
];

describe.each(postgresMajors)(
  'on %s values of rows are kept from messages, stacks and logs',
  (_title, server) => {
    let store: ObjectStore;
    beforeAll(() => {
      store = openStore(servers.s3);
    });
    afterAll(() => store.close());

    test.each(shareOf(CASES, server))('$title', async ({ change, message, full, stale }) => {
      const url = await newDatabase(server);
      await sql(
        url,
        `CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('happy', 'swordfish, line 7, column swordfish: swordfish');
       CREATE SCHEMA o; CREATE TABLE o."swordfish, line 7, column swordfish: swordfish" ();
       CREATE TABLE s.t (i int, v text, m regclass, n s.mood); INSERT INTO s.t VALUES (1, '12', 0)`,
      );
      await sql(
        url,
        `INSERT INTO s.t VALUES (2, $1, 'o."swordfish, line 7, column swordfish: swordfish"', 'swordfish, line 7, column swordfish: swordfish')`,
        [VALUE],
      );
      const { key } = await runBackup(store, url, ['s']);
      await sql(url, `TRUNCATE s.t; ${change}`);
      const failure = await runRestore(store, url, ['s'], key).then(
        ({ omissions }) => omissions,
        (error: unknown) => error,
      );
      if (stale) {
        expect(failure).toEqual([expect.stringMatching(message)]);
        expect(String(failure)).not.toContain('swordfish');
        return;
      }
      if (!(failure instanceof Failure)) throw new Error('no Failure', { cause: failure });
      const open = [failure.sentence, errorDetails(failure), JSON.stringify(failure), inspect(failure)];
      expect(open.join('\n')).not.toContain('swordfish');
      expect(failure.message).toMatch(message);
      const text = fullText(failure);
      if (full === undefined) expect(text).toBeUndefined();
      else expect(`${text?.message}\n${text?.details}`).toMatch(full);
    });
  },
);
