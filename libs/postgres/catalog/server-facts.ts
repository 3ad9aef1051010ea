import type { Session } from '../connection/session.js';

/** What a restore must know of the server and the database that it writes to. */
export interface ServerFacts {
  /** Such as "15.18 (Debian 15.18-0+deb12u1)". */
  version: string;
  encoding: string;
  /** The extensions that the database has, by name. */
  extensions: string[];
  /** The given names as PostgreSQL prints them, in quotes where they need them. */
  quoted: Map<string, string>;
}

export async function serverFacts(session: Session, names: string[]): Promise<ServerFacts> {
  const [facts] = await session.query<Omit<ServerFacts, 'quoted'> & { quoted: string[] }>(
    `SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
            ARRAY(SELECT extname::text FROM pg_extension) AS extensions,
            ARRAY(SELECT quote_ident(name) FROM unnest($1::text[]) WITH ORDINALITY AS one (name, number) ORDER BY number) AS quoted`,
    [names],
  );
  const { version = '', encoding = '', extensions = [], quoted = [] } = facts ?? {};
  return {
    version,
    encoding,
    extensions,
    quoted: new Map(names.map((name, index) => [name, quoted[index] ?? name])),
  };
}
