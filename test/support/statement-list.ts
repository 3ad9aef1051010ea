import type { Manifest } from '#archive';
import { splitStatements } from '../../libs/postgres/schema-dump/statements.js';
import { sql } from './servers.js';

type Definitions = Manifest['definitions'];

const BEFORE =
  'COMMENT,DEFAULT,FOREIGN DATA WRAPPER,FUNCTION,MATERIALIZED VIEW,PROCEDURE,SCHEMA,SEQUENCE,SEQUENCE OWNED BY,SERVER,SET,TABLE,TABLE ATTACH,USER MAPPING';
const AFTER = 'ACL,CONSTRAINT,FK CONSTRAINT,INDEX,INDEX ATTACH,RULE,SUBSCRIPTION';

/** The objects of the statements. Versions of pg_dump write different settings. */
export function objectsOf(definitions: Definitions) {
  return definitions?.statements
    ?.filter(({ kind }) => kind !== 'SET')
    .map(({ kind, schema, name, class: catalog, oid }) => ({ kind, schema, name, catalog, oid }));
}

/** Checks the list of a schema.sql that has these kinds of statements: all are in it, with their objects in the database. */
export async function expectListed(url: string, text: string, definitions: Definitions): Promise<void> {
  const { statements = [], beforeRows } = definitions ?? {};
  const bytes = Buffer.from(text);
  const listed = statements.map(({ offset, length }) => bytes.toString('latin1', offset, offset + length));
  const all = [...splitStatements(bytes.toString('latin1'))].map((one) => one.text);
  expect(listed).toEqual(all.filter((one) => one !== ''));

  const kindsOf = (some: typeof statements) => [...new Set(some.map(({ kind }) => kind))].sort().join();
  expect(kindsOf(statements.slice(0, beforeRows))).toBe(BEFORE);
  expect(kindsOf(statements.slice(beforeRows))).toBe(AFTER);

  const relations = statements.filter(({ kind }) => /^(TABLE|SEQUENCE|MATERIALIZED VIEW)$/.test(kind));
  const known = await sql<{ schema: string; name: string }>(
    url,
    `SELECT relnamespace::regnamespace::text AS schema, relname AS name
       FROM unnest($1::oid[]) WITH ORDINALITY AS list (oid, number) JOIN pg_class USING (oid) ORDER BY number`,
    [relations.map(({ oid }) => oid)],
  );
  expect(relations.map(({ schema, name }) => ({ schema, name }))).toEqual(known);
  const attached = statements.filter(({ kind }) => kind.endsWith(' ATTACH')).map(({ oid }) => oid);
  const children = await sql<{ oid: number }>(url, 'SELECT inhrelid AS oid FROM pg_inherits ORDER BY oid');
  expect(attached.toSorted((a, b) => a - b)).toEqual(children.map(({ oid }) => oid));
}
