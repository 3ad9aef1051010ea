import { usedTypes } from './column-types.js';
import type { Session } from '../connection/session.js';

/** Columns told in one warning. */
const TOLD = 10;

/**
 * Names columns whose values are written as names that may mean several functions or operators, and are refused then:
 * PostgreSQL prints them without their arguments. Other such types, as regprocedure and regclass, are exact.
 */
export async function warnOfAmbiguousNames(session: Session, tables: { oid: number }[]): Promise<string[]> {
  const columns = await session.query<{ name: string }>(
    `SELECT format('%s.%s.%s', n.nspname, c.relname, a.attname) AS name
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        AND EXISTS (WITH RECURSIVE ${usedTypes('SELECT a.atttypid')}
                    SELECT FROM used WHERE oid IN ('regproc'::regtype, 'regoper'::regtype))
      ORDER BY name`,
    [tables.map(({ oid }) => oid)],
  );
  if (columns.length === 0) return [];
  const more = columns.length > TOLD ? ` and ${columns.length - TOLD} more` : '';
  const names = columns.slice(0, TOLD).map(({ name }) => name);
  return [
    `A restore may fail: values of ${names.join(', ')}${more} are of the type regproc or regoper, which cannot be read back if functions or operators share their name. Use regprocedure or regoperator.`,
  ];
}
