import { randomBytes } from 'node:crypto';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup } from '../support/heart.js';
import { servers, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

/** A server, a locale to create a database with, and its properties. */
const LOCALES = [
  [
    servers.postgres,
    "LOCALE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
    { provider: 'builtin', name: 'C.UTF-8' },
  ],
  [servers.debianPostgres?.url, "LOCALE 'C.UTF-8'", { provider: 'libc', name: null, collate: 'C.UTF-8' }],
  [
    servers.debianPostgres?.url,
    "LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de'",
    { provider: 'icu', name: 'de' },
  ],
] as const;

test.each(LOCALES.filter(([server]) => server !== undefined))(
  'the manifest has the properties of a database: %s %s',
  async (server = '', locale, expected) => {
    const name = `Shop "${randomBytes(4).toString('hex')}`;
    const role = `r${randomBytes(4).toString('hex')}`;
    const database = `"${name.replaceAll('"', '""')}"`;
    await sql(
      server,
      `CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8' ${locale} CONNECTION LIMIT 50`,
    );
    const url = new URL(server);
    url.pathname = `/${encodeURIComponent(name)}`;
    await sql(
      url.href,
      `CREATE ROLE ${role}; ALTER DATABASE ${database} OWNER TO ${role}; COMMENT ON DATABASE ${database} IS 'it''s';
       ALTER DATABASE ${database} SET work_mem TO '5MB'; ALTER DATABASE ${database} SET my.text TO 'a=b';
       ALTER ROLE ${role} IN DATABASE ${database} SET search_path TO "$user", "Ä";
       REVOKE ALL ON DATABASE ${database} FROM PUBLIC; GRANT CREATE ON DATABASE ${database} TO pg_monitor WITH GRANT OPTION`,
    );
    await sql(url.href, 'CREATE SCHEMA s; CREATE TABLE s.t (a int)');
    const { key } = await runBackup(store, url.href, ['s']);
    const manifest = (await DownloadedArchive.of(store, key)).manifest();
    const [{ version = null } = {}] = await sql<{ version: string | null }>(
      server,
      'SELECT datcollversion AS version FROM pg_database WHERE datname = $1',
      [name],
    );
    expect(manifest.database).toEqual({
      hasPublicSchema: true,
      owner: role,
      encoding: 'UTF8',
      locale: {
        collate: 'C',
        ctype: expect.any(String),
        icuRules: null,
        collationVersion: version,
        ...expected,
      },
      connectionLimit: 50,
      allowConnections: true,
      isTemplate: false,
      tablespace: 'pg_default',
      comment: "it's",
      settings: [
        { role: null, name: 'work_mem', value: '5MB' },
        { role: null, name: 'my.text', value: 'a=b' },
        { role, name: 'search_path', value: '"$user", "Ä"' },
      ],
      rights: [
        ...['CREATE', 'TEMPORARY', 'CONNECT'].map((privilege) => ({
          grantee: role,
          grantor: role,
          privilege,
          grantable: false,
        })),
        { grantee: 'pg_monitor', grantor: role, privilege: 'CREATE', grantable: true },
      ],
    });
    await sql(server, `DROP DATABASE ${database} WITH (FORCE)`);
    await sql(server, `DROP ROLE ${role}`);
  },
);
