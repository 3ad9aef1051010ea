import pg from 'pg';
import { Secret } from '#config';
import { databaseOptions, openDatabase } from '#database';
import { Observer, Session, startSafely } from '#postgres';
import { newDatabase, postgresMajors, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

describe.each(postgresMajors)('%s', (_, server) => {
  let url: string;
  let database: string;
  let admin: string;
  beforeEach(async () => {
    url = await newDatabase(server);
    database = new URL(url).pathname.slice(1);
    admin = new URL(server).username;
    await sql(
      url,
      `CREATE ROLE owner_${database} LOGIN PASSWORD 'x'; CREATE ROLE login_${database} LOGIN SUPERUSER PASSWORD 'x';
       ALTER DATABASE ${database} OWNER TO owner_${database};`,
    );
  });

  const as = (role: string) => {
    const address = new URL(url);
    [address.username, address.password] = [`${role}_${database}`, 'x'];
    return address.href;
  };
  const everyConnection: [string, () => Promise<unknown>][] = [
    ['a session', () => Session.open(as('login'), { applicationName: 'one' }).then((one) => one.close())],
    ['an observer', () => Observer.open(as('login'), { applicationName: 'one' }).then((one) => one.close())],
    [
      'the accounts',
      () => openDatabase(databaseOptions(new Secret(as('login')))).then((one) => one.destroy()),
    ],
  ];

  test('no connection runs as the role that the owner of the database sets', async () => {
    await sql(as('owner'), `ALTER DATABASE ${database} SET role = owner_${database}`);
    const refused = {
      code: 'ROLE_SET_BY_DATABASE',
      persistence: 'permanent',
      message: `The setting "role" of the database ${database} makes sessions of login_${database} run as the role owner_${database}.`,
      hint: expect.stringContaining(`Run: ALTER DATABASE "${database}" RESET role;`) as string,
    };
    for (const [, open] of everyConnection) await expect(open()).rejects.toMatchObject(refused);
    await sql(as('owner'), `ALTER DATABASE ${database} RESET role`);
    for (const [, open] of everyConnection) await open();
  });

  test("a role's own wish is its own, everywhere and in one database, and goes before the database's", async () => {
    await sql(as('owner'), `ALTER DATABASE ${database} SET role = owner_${database}`);
    for (const where of ['', `IN DATABASE ${database}`]) {
      await sql(server, `ALTER ROLE login_${database} ${where} SET role = ${admin}`);
      const session = await Session.open(as('login'), { applicationName: 'one' });
      expect(await session.query('SELECT current_user AS role')).toEqual([{ role: admin }]);
      await session.close();
      await sql(server, `ALTER ROLE login_${database} ${where} RESET role`);
    }
    const client = new pg.Client(`${as('login')}?options=-c%20role=${admin}`);
    await client.connect();
    await startSafely(client);
    await client.end();
  });
});

test('an API with a queue in such a database does not start, and says why', async () => {
  const url = await newDatabase();
  const database = new URL(url).pathname.slice(1);
  await sql(url, `CREATE ROLE owner_${database}; ALTER DATABASE ${database} SET role = owner_${database}`);
  const stack = await Stack.start({ workers: 0, wait: false, env: { QUEUE_URL: url } });
  await stack.api.ended();
  expect(stack.api.logTail(100)).toContain(`run as the role owner_${database}`);
  await stack.stop();
});
