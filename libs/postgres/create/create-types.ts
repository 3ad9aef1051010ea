import { quoteIdentifier, quoteLiteral, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

/** A type to create from the facts of an archive. */
export interface NewType {
  name: Relation;
  kind: 'composite' | 'domain' | 'enum';
  /** A composite's attributes, or a domain's base type, as SQL that PostgreSQL knows as types. */
  parts: { name: string; type: string }[];
  labels: string[];
}

/** Creates types in this order. Domains come without their checks. */
export async function createTypes(session: Session, types: NewType[]): Promise<void> {
  for (const { name, kind, parts, labels } of types) {
    const created = quoteTable(name);
    const attributes = parts.map((part) => `${quoteIdentifier(part.name)} ${part.type}\n`);
    await session.query(
      kind === 'enum'
        ? `CREATE TYPE ${created} AS ENUM (${labels.map(quoteLiteral).join(', ')})`
        : kind === 'domain'
          ? `CREATE DOMAIN ${created} AS ${parts[0]?.type ?? 'text'}`
          : `CREATE TYPE ${created} AS (${attributes.join(', ')})`,
    );
  }
}

/** Returns those of the texts that name exactly one existing type each, as format_type shows it. */
export async function knownTypes(session: Session, texts: string[]): Promise<Set<string>> {
  const rows = await session.query<{ text: string }>(
    'SELECT text FROM unnest($1::text[]) AS text WHERE to_regtype(text) IS NOT NULL',
    [texts],
  );
  return new Set(rows.map(({ text }) => text));
}

/** Parses a qualified name as PostgreSQL prints it. */
export function parseName(text: string): Relation | undefined {
  const [, schema, name] = /^("(?:[^"]|"")+"|[^".]+)\.("(?:[^"]|"")+"|[^".]+)$/.exec(text) ?? [];
  return schema === undefined || name === undefined
    ? undefined
    : { schema: unquoted(schema), name: unquoted(name) };
}

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}
