import {
  type EventTriggerPlan,
  planEventTriggers,
  reinstateEventTriggers,
  Session,
  suspendEventTriggers,
} from '#postgres';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { newOwnedDatabase, postgresMajors, servers, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

// The versions differ in what may be done.
test.each(postgresMajors)('on %s, event triggers fire only if they may', async (_title, server) => {
  const { admin, url, role } = await newOwnedDatabase(server);
  await sql(
    url,
    `CREATE SCHEMA s; CREATE TABLE s.p (a serial PRIMARY KEY); CREATE TABLE s.c (a int REFERENCES s.p); CREATE TABLE s.fired (tag text);
    INSERT INTO s.p DEFAULT VALUES; INSERT INTO s.c VALUES (1)`,
  );
  await sql(
    admin,
    `CREATE FUNCTION public.f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO s.fired VALUES (tg_tag); END $$;
    CREATE FUNCTION public.never() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'I fired'; END $$;
    CREATE EVENT TRIGGER on_drop_table ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION public.never()`,
  );
  const fired = async () =>
    (await sql<{ tag: string }>(admin, 'SELECT DISTINCT tag FROM s.fired ORDER BY tag')).map(
      ({ tag }) => tag,
    );
  const none = await runBackup(store, url, ['s'], { definitions: 'off' });
  expect(none.warnings).toEqual([]);
  await runRestore(store, url, ['s'], none.key);

  // An extension's own.
  await sql(
    admin,
    'CREATE EXTENSION pg_trgm; CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION public.f(); ALTER EXTENSION pg_trgm ADD EVENT TRIGGER audit',
  );
  await sql(admin, 'TRUNCATE s.fired');
  const { key, warnings } = await runBackup(store, url, ['s'], { definitions: 'off' });
  expect(warnings).toEqual([]);
  await runVerify(store, url, ['s'], key);
  await runRestore(store, url, ['s'], key, { tables: ['s.p', 's.c'] });
  expect(await fired()).toEqual(['ALTER SEQUENCE', 'ALTER TABLE']);

  // A stranger's, which the owner of the tables cannot pass by.
  await sql(
    admin,
    'DROP EXTENSION pg_trgm; CREATE EVENT TRIGGER "on all" ON ddl_command_end EXECUTE FUNCTION public.f(); ALTER EVENT TRIGGER "on all" ENABLE ALWAYS; CREATE EVENT TRIGGER never ON ddl_command_start EXECUTE FUNCTION public.never(); ALTER EVENT TRIGGER never ENABLE REPLICA',
  );
  await sql(admin, 'TRUNCATE s.fired');
  const states = () => sql(admin, 'SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY evtname');
  const before = await states();
  const isNew = server === servers.postgres;
  const remedy = `Have a superuser run ALTER EVENT TRIGGER "on all" DISABLE; for the time of the restore${
    isNew ? ` or, once, GRANT SET ON PARAMETER event_triggers TO "${role}";` : '.'
  } Or set fireEventTriggers, which lets them fire.`;
  const warned = await runBackup(store, url, ['s'], { definitions: 'off' });
  expect(warned.warnings).toEqual([
    `The event trigger on all prevents restores by the role ${role}. ${remedy}`,
  ]);
  for (const attempt of [runVerify, runRestore])
    await expect(attempt(store, url, ['s'], key)).rejects.toMatchObject({
      code: 'EVENT_TRIGGER',
      persistence: 'permanent',
      message: expect.stringMatching(/^The event trigger on all would fire during the restore\./) as string,
      hint: `Nothing was changed. ${remedy}`,
    });
  await runVerify(store, url, ['s'], key, { fireEventTriggers: true });
  await runRestore(store, url, ['s'], key, { fireEventTriggers: true, tables: ['s.p', 's.c'] });
  expect(await fired()).toEqual(['ALTER SEQUENCE', 'ALTER TABLE']);

  // A superuser can, and so can who was granted the setting.
  await sql(admin, 'TRUNCATE s.fired');
  await runVerify(store, admin, ['s'], key);
  await runRestore(store, admin, ['s'], key, { tables: ['s.p', 's.c'] });
  if (isNew) {
    await sql(admin, `GRANT SET ON PARAMETER event_triggers TO ${role}`);
    expect((await runBackup(store, url, ['s'], { definitions: 'off' })).warnings).toEqual([]);
    await runVerify(store, url, ['s'], key);
    await runRestore(store, url, ['s'], key, { tables: ['s.p', 's.c'] });
  }
  expect(await fired()).toEqual([]);
  expect(await states()).toEqual(before);

  // Two that must disable it take turns.
  if (isNew) return;
  const open = () => Session.open(admin, { applicationName: 'test' });
  const [first, second] = [await open(), await open()];
  const suspend = async (session: Session) => {
    await session.query('BEGIN');
    const plan = await planEventTriggers(session, ['ALTER TABLE'], false);
    await suspendEventTriggers(session, plan);
    return plan;
  };
  const end = async (session: Session, plan: EventTriggerPlan) => {
    await reinstateEventTriggers(session, plan);
    await session.commit();
    await session.close();
  };
  const plan = await suspend(first);
  const later = suspend(second);
  const waiting = `SELECT FROM pg_locks WHERE NOT granted AND pid = ${second.pid}`;
  while ((await first.query(waiting)).length === 0);
  await end(first, plan);
  await end(second, await later);
  expect(await states()).toEqual(before);
});
