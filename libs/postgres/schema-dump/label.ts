import { Failure } from '#common';

/** How pg_dump labels an entry of its table of contents. One character for each byte. */
export interface Label {
  name: string;
  kind: string;
  /** `-` for objects outside of schemas. */
  schema: string;
}

const MARK = '; Type: ';
const OWNER = '; Owner: ';
/** Reads from each {@link MARK} on. */
const KIND = /; Type: ([A-Z ]+); Schema: /y;

/** The first words of the statements of kinds that do not begin with CREATE and the kind. */
const FIRST_WORDS = new Map(
  Object.entries({
    ACL: 'GRANT|REVOKE',
    COMMENT: 'COMMENT',
    CONSTRAINT: 'ALTER (FOREIGN )?TABLE',
    'CHECK CONSTRAINT': 'ALTER (FOREIGN TABLE|TABLE|DOMAIN)',
    'DATABASE PROPERTIES': 'ALTER DATABASE|UPDATE',
    DEFAULT: 'ALTER (FOREIGN TABLE|TABLE|VIEW)',
    'DEFAULT ACL': 'ALTER DEFAULT PRIVILEGES',
    'FK CONSTRAINT': 'ALTER TABLE',
    'INDEX ATTACH': 'ALTER INDEX',
    'PUBLICATION TABLE': 'ALTER PUBLICATION',
    'PUBLICATION TABLES IN SCHEMA': 'ALTER PUBLICATION',
    'ROW SECURITY': 'ALTER TABLE',
    // A view that needs itself is completed by its rule.
    RULE: 'CREATE (RULE|OR REPLACE VIEW)',
    SCHEMA: '(CREATE|ALTER) SCHEMA',
    'SECURITY LABEL': 'SECURITY LABEL',
    // That of an identity column.
    SEQUENCE: 'CREATE (UNLOGGED )?SEQUENCE|ALTER TABLE',
    'SEQUENCE OWNED BY': 'ALTER SEQUENCE',
    'SHELL TYPE': 'CREATE TYPE',
    'TABLE ATTACH': 'ALTER TABLE',
    TRIGGER: 'CREATE (CONSTRAINT )?TRIGGER|ALTER TABLE',
  }).map(([kind, words]) => [kind, new RegExp(`^(${words}) `)]),
);
const NAME = String.raw`("(?:[^"]|"")*"|[\w$\x80-\xff]+)`;
/** The statement of a relation, with its schema and name. */
export const RELATION = new RegExp(
  String.raw`^CREATE (?:UNLOGGED |FOREIGN |MATERIALIZED )?(?:TABLE|VIEW|SEQUENCE) ${NAME}\.${NAME}\s`,
);

/**
 * Reads `name; Type: kind; Schema: schema; Owner: owner`. pg_dump prints all names without quotes, so each of them may
 * look like another part. The statement shows which reading is meant.
 * @param statement empty if the entry has none
 * @throws Failure DEFINITIONS_FAILED if several readings fit the statement, or none of them
 */
export function readLabel(label: string, statement: string): Label {
  const readings = readingsOf(label);
  const [only] = readings;
  if (only !== undefined && (readings.length === 1 || statement === '')) return only;
  const fitting = readings.filter((reading) => fits(reading, statement.replace(/[\r\n]/g, ' ')));
  const [meant] = fitting;
  if (meant === undefined || fitting.length > 1) throw ambiguous(label);
  return meant;
}

/** All readings: a name may hold the marks of other parts. */
function readingsOf(label: string): Label[] {
  const readings: Label[] = [];
  for (let mark = label.indexOf(MARK); mark !== -1; mark = label.indexOf(MARK, mark + 1)) {
    KIND.lastIndex = mark;
    const [, kind] = KIND.exec(label) ?? [];
    if (kind === undefined) continue;
    const start = KIND.lastIndex;
    for (let end = label.indexOf(OWNER, start); end !== -1; end = label.indexOf(OWNER, end + 1))
      readings.push({ name: label.slice(0, mark), kind, schema: label.slice(start, end) });
  }
  return readings;
}

/** @param statement without line breaks, as pg_dump prints names in comments */
function fits({ name, kind, schema }: Label, statement: string): boolean {
  const words = FIRST_WORDS.get(kind) ?? new RegExp(`^CREATE ([A-Z]+ )*${kind} `);
  if (!words.test(statement)) return false;
  // A definition has the object's name in it, but not its owner's.
  if ([MARK, OWNER].some((mark) => name.includes(mark) && !statement.includes(mark))) return false;
  const [, ofSchema, relation] = RELATION.exec(statement) ?? [];
  if (relation !== undefined) return isName(relation, name) && isName(ofSchema, schema);
  return schema === '-' || statement.includes(quoted(schema)) || namesPlainly(statement, schema);
}

function isName(identifier: string | undefined, name: string): boolean {
  return identifier === name || identifier === quoted(name);
}

function namesPlainly(statement: string, schema: string): boolean {
  return (
    /^[\w$\x80-\xff]+$/.test(schema) &&
    new RegExp(`[ (]${schema.replaceAll('$', String.raw`\$`)}[.; ]`).test(statement)
  );
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function ambiguous(label: string): Failure {
  return new Failure(
    'DEFINITIONS_FAILED',
    'permanent',
    `Cannot read schema definitions: pg_dump prints names without quotes, and these have several meanings: ${Buffer.from(label, 'latin1').toString()}.`,
    { hint: 'Rename the object, schema, role or tablespace that has "; Type: " or "; Owner: " in its name.' },
  );
}
