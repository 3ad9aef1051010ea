import { readLabel, RELATION } from './label.js';

/** The object that a statement of pg_dump's text defines or changes. */
export interface TocEntry {
  /** pg_dump's type, such as `TABLE` or `FK CONSTRAINT`. `SET` for settings of the session, which have no object. */
  kind: string;
  /** Null for objects outside of schemas. */
  schema: string | null;
  /** As pg_dump names it, such as `f(integer)`, or `TABLE t` for its comment. Exact for tables, views and sequences. */
  name: string;
  /** The OID of the catalog, and the object's there; for a comment or a right, those of the object that has it. */
  class: number;
  oid: number;
  /** Whether it belongs to the database itself. */
  isOfDatabase: boolean;
}

export const SETTING: TocEntry = {
  kind: 'SET',
  schema: null,
  name: '',
  class: 0,
  oid: 0,
  isOfDatabase: false,
};

/** pg_dump writes one such comment for each entry. Line breaks in names are blanks here. */
const COMMENT =
  /(?:^|\n)-- TOC entry (\d+) \(class (\d+) OID (\d+)\)\n(?:-- Dependencies: (\d+).*\n)?-- Name: (.*; Type: [A-Z ]+; Schema: .*; Owner: .*)\n/g;
/** Lines that only `--verbose` adds. They change with every dump, and the manifest has the OIDs. */
const VERBOSE_LINES =
  /^-- TOC entry \d+ \(class \d+ OID \d+\)\n|^-- Dependencies:(?: \d+)*\n|^\n-- (?:Started|Completed) on .*\n/gm;
const NAME = String.raw`("(?:[^"]|"")*"|[\w$\x80-\xff]+)`;
const INDEX = new RegExp(String.raw`^CREATE (?:UNIQUE )?INDEX ${NAME} ON (?:ONLY )?${NAME}\.`);
const KEY = new RegExp(
  String.raw`^ALTER TABLE (?:ONLY )?${NAME}\.${NAME}\s+ADD CONSTRAINT ${NAME} (?:PRIMARY KEY|UNIQUE|EXCLUDE)`,
);
const SERVER = new RegExp(`^CREATE SERVER ${NAME}`);
const MAPS_TO = new RegExp(`^CREATE USER MAPPING FOR ${NAME} SERVER ${NAME}`);
const ATTACHED = new RegExp(String.raw` ATTACH PARTITION ${NAME}\.${NAME}`);
const POST_DATA =
  /^((CHECK |FK )?CONSTRAINT|INDEX|INDEX ATTACH|STATISTICS|RULE|TRIGGER|POLICY|ROW SECURITY|(DEFAULT )?ACL|EVENT TRIGGER|(PUBLICATION|SUBSCRIPTION)( .*)?)$/;

/**
 * Whether an entry comes after the rows, and all that follow it: pg_dump writes nothing that comes before the rows behind
 * it.
 */
export function isAfterRows({ kind }: Pick<TocEntry, 'kind'>): boolean {
  return POST_DATA.test(kind);
}

/** Removes what `--verbose` adds to the comments before a statement. */
export function withoutVerboseLines(comments: string): string {
  return comments.replace(VERBOSE_LINES, '');
}

/**
 * Reads the entries of pg_dump's table of contents from the comments that `--verbose` writes before the first statement
 * of each.
 */
export class TableOfContents {
  private readonly entries = new Map<string, TocEntry>();
  /** Tables, indexes and servers by their names in SQL: pg_dump gives partitions and user mappings no OID. */
  private readonly byName = new Map<string, TocEntry>();

  /**
   * @param comments everything between the statement and the one before it: names and bodies of functions may hold any
   * text, but no comment there can
   * @returns undefined if the statement belongs to the entry of the one before it
   * @throws Failure DEFINITIONS_FAILED for names that make a comment ambiguous
   */
  entryOf(comments: string, statement: string): TocEntry | undefined {
    const found = [...comments.matchAll(COMMENT)].map(([, id = '', ...fields], index, all) => {
      // Those before the last have no statement, such as for the schema public.
      const entry = this.entry(fields, index === all.length - 1 ? statement : '');
      this.entries.set(id, entry);
      return entry;
    });
    return found.at(-1);
  }

  private entry(fields: (string | undefined)[], statement: string): TocEntry {
    const [own = '', oid = '', needs = '', label = ''] = fields;
    const { name: tag, kind, schema: inSchema } = readLabel(label, statement);
    const object = own === '0' ? (this.entries.get(needs) ?? this.attached(kind, statement)) : undefined;
    const [, schema, name] = RELATION.exec(statement) ?? [];
    const isRelation = /^((FOREIGN )?TABLE|(MATERIALIZED )?VIEW|SEQUENCE)$/.test(kind);
    const entry: TocEntry = {
      kind,
      schema: isRelation && schema ? unquoted(schema) : inSchema === '-' ? null : text(inSchema),
      name: isRelation && name ? unquoted(name) : text(tag),
      class: object?.class ?? Number(own),
      oid: object?.oid ?? Number(oid),
      isOfDatabase: kind.startsWith('DATABASE') || (object?.isOfDatabase ?? false),
    };
    if (isRelation) this.byName.set(`${schema}.${name}`, entry);
    const [, index, indexSchema] = INDEX.exec(statement) ?? [];
    if (index) this.byName.set(`${indexSchema}.${index}`, entry);
    // The index of a key has the key's name.
    const [, keySchema, , key] = KEY.exec(statement) ?? [];
    if (key) this.byName.set(`${keySchema}.${key}`, entry);
    const [, server] = SERVER.exec(statement) ?? [];
    if (server) this.byName.set(server, entry);
    return entry;
  }

  private attached(kind: string, statement: string): TocEntry | undefined {
    if (kind === 'DATABASE PROPERTIES')
      return [...this.entries.values()].find(({ isOfDatabase }) => isOfDatabase);
    if (kind === 'USER MAPPING') return this.byName.get(MAPS_TO.exec(statement)?.[2] ?? '');
    const [, schema, name] = (kind.endsWith(' ATTACH') && ATTACHED.exec(statement)) || [];
    return this.byName.get(`${schema}.${name}`);
  }
}

function unquoted(name: string): string {
  return text(name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name);
}

function text(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString();
}
