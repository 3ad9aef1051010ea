import pg from 'pg';
import { Failure } from '#common';
import { ANY_DATABASES, ANY_SCHEMAS } from '../support/any-databases.js';
import { MemoryJournal, runBackup, runRestore } from '../support/heart.js';
import {
  newOwnedDatabase,
  postgresMajors,
  sample,
  servers,
  storeOfTests,
  thorough,
} from '../support/servers.js';
import { pgDump, stateOf } from '../support/state.js';

const store = storeOfTests();

/** Ends a restore when all is loaded and put back, just before it would be committed. */
async function expectFailureToChangeNothing(admin: pg.Client, url: string, key: string): Promise<void> {
  const spoiled = await stateOf(admin, ANY_SCHEMAS);
  const journal = new MemoryJournal();
  const stop = new AbortController();
  journal.onReport = ({ message }) =>
    message.startsWith('Refreshing') && stop.abort(new Failure('TERMINATED', 'permanent', 'stop'));
  await expect(runRestore(store, url, ['s'], key, { journal, signal: stop.signal })).rejects.toMatchObject({
    code: 'TERMINATED',
  });
  expect(await stateOf(admin, ANY_SCHEMAS)).toEqual(spoiled);
}

/**
 * Every table and every sequence in one of several ways: emptied, halved, overwritten, doubled; moved forward
 * or back. If a table rejects one change, the next is tried.
 */
const spoil = (way: number) => `
  DO $spoil$ DECLARE r record; col text; cols text; way int; changed int; BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    FOR r IN SELECT c.oid, c.oid::regclass AS name, c.relkind, row_number() OVER (ORDER BY c.oid) AS number
               FROM pg_class c WHERE c.relnamespace = 's'::regnamespace AND relkind IN ('r', 'S')
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') LOOP
      IF r.relkind = 'S' THEN
        PERFORM CASE (r.number + ${way}) % 4
                WHEN 0 THEN setval(r.name, seqmax) WHEN 1 THEN setval(r.name, seqmin, false)
                WHEN 2 THEN setval(r.name, seqstart) ELSE setval(r.name, seqmin + 1, true) END
           FROM pg_sequence WHERE seqrelid = r.oid;
        CONTINUE;
      END IF;
      SELECT string_agg(quote_ident(attname), ', ') INTO cols
        FROM pg_attribute WHERE attrelid = r.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
      FOR i IN 0..3 LOOP
        way := (r.number + ${way} + i) % 4;
        changed := 0;
        BEGIN
          IF way = 0 THEN
            EXECUTE format('SELECT count(*) FROM ONLY %s', r.name) INTO changed;
            EXECUTE format('TRUNCATE ONLY %s', r.name);
          ELSIF way = 1 THEN
            EXECUTE format('DELETE FROM ONLY %s WHERE (ctid::text::point)[1]::int %% 2 = 1', r.name);
            GET DIAGNOSTICS changed = ROW_COUNT;
          ELSIF way = 2 THEN
            FOREACH col IN ARRAY regexp_split_to_array(cols, ', ') LOOP
              BEGIN EXECUTE format('UPDATE ONLY %s SET %s = NULL', r.name, col); GET DIAGNOSTICS changed = ROW_COUNT;
              EXCEPTION WHEN OTHERS THEN NULL; END;
            END LOOP;
          ELSE
            BEGIN EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM ONLY %s', r.name, cols, cols, r.name);
            EXCEPTION WHEN OTHERS THEN EXECUTE format('INSERT INTO %s DEFAULT VALUES', r.name); END;
            GET DIAGNOSTICS changed = ROW_COUNT;
          END IF;
        EXCEPTION WHEN OTHERS THEN changed := 0; END;
        EXIT WHEN changed > 0;
      END LOOP;
    END LOOP;
  END $spoil$`;

/** Another way for each server and role, so that between them every table meets all of them. */
let ways = 0;

/** A superuser on the first server and an owner on the other, who share the cases; both have all when thorough. */
const shares = !thorough && postgresMajors.length > 1;
const rolesOn = (server: string) =>
  shares
    ? [server === servers.postgres ? 'a superuser' : 'an ordinary owner']
    : ['an ordinary owner', 'a superuser'];

describe.each(postgresMajors)('on %s', (_title, server) => {
  describe.each(rolesOn(server))('%s brings back exactly', (who) => {
    const way = ways++;
    const compared = server === servers.debianPostgres?.url;
    let admin: pg.Client;
    let owner: pg.Client;
    let adminUrl: string;
    let url: string;
    const unspoiled: string[] = [];

    beforeAll(async () => {
      const made = await newOwnedDatabase(server);
      adminUrl = made.admin;
      url = who === 'an ordinary owner' ? made.url : made.admin;
      [admin, owner] = [new pg.Client(adminUrl), new pg.Client(url)];
      for (const client of [admin, owner]) {
        await client.connect();
        await client.query('SET client_min_messages TO warning');
      }
    });
    afterAll(async () => {
      for (const client of [admin, owner]) await client.end();
    });

    const possible = ANY_DATABASES.filter(({ superuserOnly }, index) =>
      shares
        ? (superuserOnly === true || index % 2 === 0) === (who === 'a superuser')
        : who === 'a superuser' || superuserOnly !== true,
    );
    const cases = sample(possible, Math.ceil(possible.length / 3));
    test.each(cases.map((one) => [one.title, one] as const))('%s', async (title, { sql: made }) => {
      await admin.query('DROP SCHEMA IF EXISTS s, outside CASCADE');
      await owner.query(`CREATE SCHEMA s; ${made}`);
      // Every third one is looked at from more sides, or each when thorough.
      const isThird = thorough || possible.findIndex((one) => one.title === title) % 3 === 0;
      const dump = () => (compared && isThird ? pgDump(adminUrl, ANY_SCHEMAS) : Promise.resolve(''));
      const before = await stateOf(admin, ANY_SCHEMAS);
      const [{ key }, dumped] = await Promise.all([runBackup(store, url, ['s']), dump()]);
      expect(await stateOf(admin, ANY_SCHEMAS)).toEqual(before);
      await owner.query(spoil(way));
      if (isThird) {
        await expectFailureToChangeNothing(admin, url, key);
        await owner.query(spoil(way + 1));
      }
      if (JSON.stringify(await stateOf(admin, ANY_SCHEMAS)) === JSON.stringify(before)) unspoiled.push(title);
      await runRestore(store, url, ['s'], key);
      expect(await stateOf(admin, ANY_SCHEMAS)).toEqual(before);
      expect(await dump()).toBe(dumped);
    });

    test('after nearly all cases were spoiled', () => {
      // Nothing can be taken from an empty table, and what one way takes the next may give.
      expect(unspoiled.length).toBeLessThan(possible.length / 10);
    });
  });
});
