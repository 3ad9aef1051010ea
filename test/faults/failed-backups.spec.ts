import { describeOnSwift, newDatabase, queues, servers, sql, swift } from '../support/servers.js';
import { Stack } from '../support/stack.js';

async function failedBackup(queueUrl: string | undefined, env: Record<string, string>) {
  const stack = await Stack.start({ queueUrl, env });
  try {
    const { id } = await stack.startBackup();
    const seen = await stack.watch(id);
    return { seen, last: seen.at(-1), logs: stack.logs() };
  } finally {
    await stack.stop();
  }
}

describe.each(queues)('a backup on the %s queue', (_title, queueUrl) => {
  describeOnSwift('to a bucket', () => {
    test('that may not be written to fails at once, with what S3 said', async () => {
      const { last } = await failedBackup(queueUrl, { S3_ENDPOINT: swift().endpoint, ...swift().reader });
      expect(last).toMatchObject({
        status: 'FAILED',
        errorMessage:
          'Access Denied: the credentials lack s3:PutObject on the bucket archives. Grant s3:PutObject, then start again.',
        backupUrl: null,
      });
      expect(last?.errorDetails).toMatch(
        /^Status Code: 403, AWS Request ID: [\w-]+, AWS Error Code: AccessDenied\nFailure \[STORE_ACCESS_DENIED\]: Access Denied.*\n +at /,
      );
    });
  });

  test('of a database that is away is tried three times, which its message tells', async () => {
    const { seen, last, logs } = await failedBackup(queueUrl, {
      REPOSITORY_URL: 'postgres://someone:hidden-pw@127.0.0.1:1/gone',
      RETRY_SECONDS: '0',
    });
    expect(last).toMatchObject({ status: 'FAILED', backupUrl: null });
    expect(last?.errorMessage).toMatch(
      /^PostgreSQL at 127\.0\.0\.1:1\/gone cannot be reached \(ECONNREFUSED\)\. Check that it runs/,
    );
    expect(last?.errorDetails).toMatch(/^Failure \[DATABASE_UNREACHABLE\]: [^]*\nCaused by: /);
    const messages = new Set(seen.map(({ progresssMessage }) => progresssMessage));
    expect([...messages].filter((message) => message.startsWith('Attempt'))).toEqual([
      expect.stringMatching(/^Attempt 1 of 3 failed: PostgreSQL at 127.* Trying again\.$/),
      expect.stringMatching(/^Attempt 2 of 3 failed: PostgreSQL at 127.* Trying again\.$/),
    ]);
    expect(logs).not.toContain('hidden-pw');
    expect(JSON.stringify(seen)).not.toContain('hidden-pw');
  });

  test('that may not read one table fails at once and names it', async () => {
    const url = await newDatabase();
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.open (); CREATE TABLE s.closed (); CREATE ROLE r_${Date.now()} LOGIN PASSWORD 'pw'`,
    );
    const [role] = await sql<{ name: string }>(
      url,
      "SELECT rolname AS name FROM pg_roles WHERE rolname LIKE 'r\\_%' ORDER BY oid DESC LIMIT 1",
    );
    await sql(url, `GRANT USAGE ON SCHEMA s TO ${role?.name}; GRANT SELECT ON s.open TO ${role?.name}`);
    const other = new URL(url);
    other.username = role?.name ?? '';
    other.password = 'pw';
    const { seen, last } = await failedBackup(queueUrl, {
      REPOSITORY_URL: other.href,
      REPOSITORY_SCHEMAS: 's',
    });
    expect(last).toMatchObject({
      status: 'FAILED',
      errorMessage: `The role ${role?.name} may not read s.closed: permission denied. Run: GRANT SELECT ON "s"."closed" TO "${role?.name}";`,
    });
    expect(seen.filter(({ progresssMessage }) => progresssMessage.startsWith('Attempt'))).toEqual([]);
  });
});

test("another owner's database is not changed", async () => {
  const url = await newDatabase(servers.debianPostgres?.url ?? servers.postgres);
  await sql(url, 'CREATE SCHEMA mine; CREATE TABLE mine.t AS SELECT 1 AS a');
  const objects = () =>
    sql(
      url,
      `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname !~ '^pg_|information_schema'`,
    );
  const before = await objects();
  const stack = await Stack.start({ env: { REPOSITORY_URL: url, REPOSITORY_SCHEMAS: 'mine' } });
  const { id } = await stack.startBackup();
  expect(await stack.finished(id)).toMatchObject({ status: 'COMPLETED', progresssTotal: 1 });
  await stack.stop();
  expect(await objects()).toEqual(before);
});
