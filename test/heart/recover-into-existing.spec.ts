import { randomBytes } from 'node:crypto';
import { Failure } from '#common';
import { MemoryJournal, runBackup, runRecover } from '../support/heart.js';
import { at } from '../support/recovered.js';
import { newDatabase, oneOf, postgresMajors, seed, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, seed))('into an existing database of %s', (_title, server) => {
  let url: string;
  let key: string;
  let into: string;

  beforeAll(async () => {
    url = await newDatabase(server);
    await sql(
      url,
      'CREATE TABLE public.t AS SELECT 1 AS a; CREATE UNIQUE INDEX ON public.t (a); SELECT lo_from_bytea(4711, $$x$$)',
    );
    ({ key } = await runBackup(store, url, '*', { definitions: 'required' }));
  });

  beforeEach(async () => {
    into = `into_${randomBytes(4).toString('hex')}`;
    await sql(server, `CREATE DATABASE ${into} TEMPLATE template0`);
  });

  const recoverInto = (journal: MemoryJournal, more: Parameters<typeof runRecover>[4] = {}) =>
    runRecover(store, at(server, 'postgres'), key, into, {
      journal,
      daemonId: '1',
      applicationName: `snapshotd recover 1 ${randomBytes(4).toString('hex')}`,
      ...more,
    });
  const objects = () =>
    sql(
      at(server, into),
      `SELECT relname::text AS name FROM pg_class WHERE oid >= 16384 AND relkind = 'r' UNION ALL SELECT oid::text FROM pg_largeobject_metadata ORDER BY 1`,
    );
  const complete = [{ name: '4711' }, { name: 't' }];
  const oid = () => sql(server, 'SELECT oid FROM pg_database WHERE datname = $1', [into]);

  /** Calls back when all is done but the commit. */
  class LastMoment extends MemoryJournal {
    constructor(private readonly work: () => Promise<void>) {
      super();
    }

    override async note(change: Parameters<MemoryJournal['note']>[0]): Promise<void> {
      await super.note(change);
      await this.work();
    }
  }

  test('a role that may create databases fills the empty one, which stays the same database', async () => {
    const before = await oid();
    const journal = new MemoryJournal();
    const { losses } = await recoverInto(journal);
    expect(losses).toEqual([]);
    expect(await objects()).toEqual(complete);
    expect(await oid()).toEqual(before);

    await expect(recoverInto(new MemoryJournal(), { createRoles: true })).rejects.toMatchObject({
      code: 'TARGET_REFUSED',
      message: `The database ${into} is not empty.`,
    });
    // The worker died after the commit: its job ends well.
    await expect(recoverInto(journal)).resolves.toMatchObject({ entities: 1 });
  });

  test('an aborted one, and one whose session ends before the commit, leave it empty', async () => {
    const journal = new MemoryJournal();
    const stop = new AbortController();
    journal.onReport = ({ message }) =>
      message.startsWith('Setting the properties') &&
      stop.abort(new Failure('TERMINATED', 'permanent', 'stop'));
    const aborted = recoverInto(journal, { signal: stop.signal });
    await expect(aborted).rejects.toMatchObject({ code: 'TERMINATED' });
    expect(await objects()).toEqual([]);

    const cut = new LastMoment(async () => {
      await sql(
        server,
        `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE '% session'`,
        [into],
      );
    });
    await expect(recoverInto(cut)).rejects.toMatchObject({ persistence: 'transient' });
    expect(await objects()).toEqual([]);
    const next = new MemoryJournal();
    next.notes = cut.notes;
    await recoverInto(next);
    expect(await objects()).toEqual(complete);
  });

  test('the second of two is refused, and so is one whose database gets a table meanwhile', async () => {
    let second: unknown;
    const first = new LastMoment(async () => {
      second = await recoverInto(new MemoryJournal()).catch((error: unknown) => error);
    });
    await recoverInto(first);
    expect(second).toMatchObject({
      code: 'TARGET_REFUSED',
      message: `Another recover fills the database ${into}.`,
    });
    expect(await objects()).toEqual(complete);

    into = `${into}_other`;
    await sql(server, `CREATE DATABASE ${into} TEMPLATE template0`);
    const meanwhile = new LastMoment(async () => {
      await sql(at(server, into), 'CREATE TABLE public.mine (a int)');
    });
    await expect(recoverInto(meanwhile)).rejects.toMatchObject({
      code: 'TARGET_REFUSED',
      message: `The database ${into} is not empty.`,
    });
    expect(await objects()).toEqual([{ name: 'mine' }]);
  });

  test('it is left alone if it has another encoding', async () => {
    into = `${into}_latin`;
    await sql(server, `CREATE DATABASE ${into} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'`);
    await expect(recoverInto(new MemoryJournal())).rejects.toMatchObject({
      code: 'TARGET_REFUSED',
      message: `The database ${into} has the encoding LATIN1, and the archive UTF8.`,
    });
  });
});
