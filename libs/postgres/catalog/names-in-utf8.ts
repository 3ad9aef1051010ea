import { isUtf8 } from 'node:buffer';
import { Failure } from '#common';
import type { Members } from './members.js';
import type { Session } from '../connection/session.js';

/** Names that a message lists. */
const NAMED = 10;

/**
 * Refuses names that are not valid UTF-8, because neither this connection nor a manifest can express them. Only a
 * database of the encoding SQL_ASCII can have them.
 * @throws Failure NAMES_NOT_UTF8 naming them
 */
export async function checkNamesInUtf8(session: Session, { schemas, relations }: Members): Promise<void> {
  const [server] = await session.query<{ encoding: string }>(
    `SELECT current_setting('server_encoding') AS encoding`,
  );
  if (server?.encoding !== 'SQL_ASCII') return;
  const names = await session.query<{ what: string; name: string }>(
    `WITH relations AS (SELECT * FROM pg_class
                         WHERE oid = ANY ($1::oid[]) OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY ($1::oid[])))
     SELECT DISTINCT what, encode(convert_to(name::text, 'SQL_ASCII'), 'hex') AS name
       FROM (SELECT CASE relkind WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' ELSE 'table' END AS what, relname AS name FROM relations
             UNION ALL SELECT 'column', a.attname FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid
             UNION ALL SELECT 'constraint', k.conname FROM pg_constraint k JOIN relations r ON r.oid = k.conrelid
             UNION ALL SELECT 'trigger', t.tgname FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid
             UNION ALL SELECT 'type', t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
                        WHERE n.nspname = ANY ($2) AND t.typrelid = 0 AND t.typelem = 0) AS named
      WHERE name::text ~ '[^ -~]'
      ORDER BY what, name`,
    [relations, schemas],
  );
  const wrong = names
    .map(({ what, name }) => ({ what, bytes: Buffer.from(name, 'hex') }))
    .filter(({ bytes }) => !isUtf8(bytes))
    .map(({ what, bytes }) => `${what} ${spelled(bytes)}`);
  if (wrong.length === 0) return;
  const more = wrong.length > NAMED ? ` and ${wrong.length - NAMED} more` : '';
  throw new Failure(
    'NAMES_NOT_UTF8',
    'permanent',
    `The database ${session.server} has names that are not valid UTF-8: ${wrong.slice(0, NAMED).join(', ')}${more}.`,
    { hint: 'Rename them with psql. The variable PGCLIENTENCODING=SQL_ASCII allows it to send any bytes.' },
  );
}

/** Returns bytes in the notation of E'' strings. */
function spelled(bytes: Buffer): string {
  return [...bytes]
    .map((byte) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`))
    .join('');
}
