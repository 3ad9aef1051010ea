import { type OpenArchive, openArchive } from '#archive';
import { runBackup, runRecover } from '../support/heart.js';
import { at, databaseOf } from '../support/recovered.js';
import { newDatabase, oneOf, postgresMajors, seed, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, seed))('on %s, nothing is left of', (_title, server) => {
  /** Recovers an archive that a change made wrong. */
  async function recoverWrong(url: string, change: (archive: OpenArchive) => void): Promise<unknown> {
    const { key } = await runBackup(store, url, '*', { definitions: 'required' });
    const { signal } = new AbortController();
    const object = await store.find(key, signal);
    if (object === undefined) throw new Error('unreachable');
    const archive = await openArchive(store.openListed(object, signal));
    change(archive);
    const database = `${databaseOf(url)}_new`;
    const error = await runRecover(store, at(server, 'postgres'), key, database, { archive }).catch(
      (failure: unknown) => failure,
    );
    const left = `SELECT FROM pg_database WHERE datname = $1 OR starts_with(datname, 'snapshotd_recover_') AND pg_catalog.shobj_description(oid, 'pg_database') IS NOT NULL`;
    expect(await sql(server, left, [database])).toEqual([]);
    return error;
  }

  test('a database whose code changes a large object', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `SELECT lo_from_bytea(4711, 'x');
       CREATE FUNCTION grow() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM lo_put(4711, length(lo_get(4711)), ''y''); RETURN 1; END';
       CREATE MATERIALIZED VIEW public.m AS SELECT grow()`,
    );
    expect(await recoverWrong(url, () => {})).toMatchObject({
      code: 'RECOVER_DIFFERS',
      message: 'The new database differs from the archive: the large object 4711 has 3 bytes in place of 2.',
    });
  });

  test('archives whose list of statements is wrong', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE TABLE public.t (a int PRIMARY KEY); INSERT INTO public.t VALUES (1);
       CREATE TABLE public.u (a int REFERENCES public.t); INSERT INTO public.u VALUES (1)`,
    );
    const wrongAt = (change: (list: NonNullable<OpenArchive['manifest']['definitions']>) => void) =>
      recoverWrong(url, ({ manifest: { definitions } }) => definitions && change(definitions));
    expect(await wrongAt((list) => (list.beforeRows = 0))).toMatchObject({ code: 'ARCHIVE_DOES_NOT_FIT' });
    expect(
      await wrongAt((list) => list.statements?.forEach((one) => (one.length = Math.ceil(one.length / 2)))),
    ).toMatchObject({
      persistence: 'permanent',
      message: expect.stringMatching(/^Cannot create /) as string,
    });
    expect(
      await wrongAt((list) => {
        list.statements = list.statements?.filter(({ kind }) => kind !== 'TABLE') ?? [];
        list.beforeRows = Math.min(list.beforeRows ?? 0, list.statements.length);
      }),
    ).toMatchObject({
      code: expect.stringMatching(/^(ARCHIVE_DOES_NOT_FIT|DATABASE_QUERY_FAILED)$/) as string,
    });
  });
});
