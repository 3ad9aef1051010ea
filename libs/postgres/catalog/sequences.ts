import { Failure } from '#common';
import { sqlState } from '../connection/errors.js';
import { displayTable, quoteIdentifier, quoteTable } from '../connection/identifiers.js';
import type { Omission } from './omissions.js';
import type { Observer } from '../connection/observer.js';
import { SCHEMA_OWNER, trustedRoles } from './plannable-tables.js';
import type { Session } from '../connection/session.js';
import { READABLE_HERE } from '../connection/standby.js';

export interface Sequence {
  schema: string;
  name: string;
}

/** A sequence's state. It is no part of any snapshot: a sequence never goes back, not even on ROLLBACK. */
export interface SequenceState extends Sequence {
  /** As text: a bigint does not fit a JavaScript number. */
  lastValue: string;
  isCalled: boolean;
}

/** Sequences that one statement reads. */
const BATCH = 200;

/** Which sequences of a schema are part of the repository. */
const SEQUENCES = `pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = ANY ($1) AND c.relkind = 'S' AND ${READABLE_HERE}
        AND NOT EXISTS (SELECT FROM pg_depend d
                         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`;

type State = Pick<SequenceState, 'lastValue' | 'isCalled'>;

interface ReadableSequence extends Sequence {
  oid: number;
  start: string;
  /** Whether a query may name it. */
  trusted: boolean;
}

/**
 * The repository's sequences with their present states, sorted by name. Nothing keeps a sequence's owner from putting a
 * table in its place, whose code would run when a query of it is planned (see {@link listPlannable}). So they are read
 * by their OIDs. Before PostgreSQL 18 that tells no state which was set and not used yet: a query does, where the owners
 * of the sequence and of its schema gain nothing; otherwise the sequence counts as new, and is named as left out.
 * @param session whose snapshot says which sequences there are
 * @param observer has no transaction, so that it keeps no lock that ALTER SEQUENCE would wait for
 * @throws Failure REPOSITORY_CHANGING when one is dropped meanwhile; DATABASE_PERMISSION_DENIED
 */
export async function readSequences(
  session: Session,
  observer: Observer,
  schemas: string[],
): Promise<{ sequences: SequenceState[]; leftOut: Omission[] }> {
  const listed = await listReadableSequences(session, schemas);
  const states = await observer
    .ask((session) => readStates(session, listed))
    .catch((error: unknown) => {
      throw IS_GONE.includes(sqlState(error) ?? '') ? sequenceDropped(error) : error;
    });
  const sequences = listed.map(({ oid, schema, name, start }) => {
    const { lastValue, isCalled } = states.get(oid) ?? { lastValue: start, isCalled: false };
    return { schema, name, lastValue, isCalled };
  });
  const unknown = listed.filter(({ oid }) => !states.has(oid));
  const leftOut = unknown.map((sequence) => ({
    what: `the state of the sequence ${displayTable(sequence)}`,
    why: 'it was never used, and PostgreSQL 17 and older tell where it was set to by a query only, which could run code of its owner; it counts as new',
  }));
  return { sequences, leftOut };
}

async function listReadableSequences(session: Session, schemas: string[]): Promise<ReadableSequence[]> {
  const rows = await session.query<ReadableSequence & { readable: boolean; role: string }>(
    `WITH asked AS (SELECT n.nspname AS schema, c.relname AS name, c.oid, c.relowner, ${SCHEMA_OWNER} AS schema_owner FROM ${SEQUENCES}),
          trusted AS (${trustedRoles('SELECT relowner FROM asked UNION SELECT schema_owner FROM asked')})
     SELECT schema, name, oid::int8::float8 AS oid, s.seqstart AS start, current_user AS role,
            has_sequence_privilege(oid, 'SELECT') IS NOT FALSE AS readable,
            relowner IN (SELECT oid FROM trusted) AND schema_owner IN (SELECT oid FROM trusted) AS trusted
       FROM asked JOIN pg_sequence s ON s.seqrelid = asked.oid
      ORDER BY schema COLLATE "C", name COLLATE "C"`,
    [schemas],
  );
  const closed = rows.filter(({ readable }) => !readable);
  if (closed.length > 0) {
    const { role = '' } = closed[0] ?? {};
    throw new Failure(
      'DATABASE_PERMISSION_DENIED',
      'permanent',
      `The role ${role} may not read ${closed.map(displayTable).join(', ')}: permission denied.`,
      { hint: `Run: GRANT SELECT ON ${closed.map(quoteTable).join(', ')} TO ${quoteIdentifier(role)};` },
    );
  }
  return rows;
}

/** @returns states by OID, without those that cannot be told */
async function readStates(session: Session, sequences: ReadableSequence[]): Promise<Map<number, State>> {
  const [server] = await session.query<{ tellsAll: boolean }>(
    `SELECT to_regproc('pg_catalog.pg_get_sequence_data') IS NOT NULL AS "tellsAll"`,
  );
  const tellsAll = server?.tellsAll === true;
  const answers = await session.query<{ oid: number; lastValue: string | null; isCalled: boolean }>(
    tellsAll
      ? `SELECT oid::int8::float8 AS oid, last_value AS "lastValue", is_called AS "isCalled"
           FROM unnest($1::oid[]) AS oid, pg_get_sequence_data(oid::regclass)`
      : `SELECT oid::int8::float8 AS oid, pg_sequence_last_value(oid::regclass) AS "lastValue", true AS "isCalled"
           FROM unnest($1::oid[]) AS oid`,
    [sequences.map(({ oid }) => oid)],
  );
  const states = new Map<number, State>();
  for (const { oid, lastValue, isCalled } of answers)
    if (lastValue !== null) states.set(oid, { lastValue, isCalled });
    else if (tellsAll) throw sequenceDropped();
  const unused = sequences.filter(({ oid, trusted }) => trusted && !states.has(oid));
  for (let from = 0; from < unused.length; from += BATCH) {
    const selects = unused
      .slice(from, from + BATCH)
      .map(
        (one) =>
          `SELECT ${one.oid}::float8 AS oid, last_value AS "lastValue", is_called AS "isCalled" FROM ${quoteTable(one)}`,
      );
    const rows = await session.query<State & { oid: number }>(selects.join(' UNION ALL '));
    for (const { oid, lastValue, isCalled } of rows) states.set(oid, { lastValue, isCalled });
  }
  return states;
}

/** undefined_table; internal_error is what functions say of an OID that is gone. */
const IS_GONE = ['42P01', 'XX000'];

function sequenceDropped(cause?: unknown): Failure {
  return new Failure(
    'REPOSITORY_CHANGING',
    'transient',
    'A sequence of the repository was dropped while its backup ran.',
    { hint: 'Start the backup again when the migration that does it is over.', cause },
  );
}

/** The repository's sequences, sorted by name, but for those that belong to an extension. */
export function listSequences(session: Session, schemas: string[]): Promise<Sequence[]> {
  return session.query<Sequence>(
    `SELECT n.nspname AS schema, c.relname AS name FROM ${SEQUENCES} ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [schemas],
  );
}

/**
 * The sequences that belong to columns of these tables, and to those of partitioned tables all of whose
 * partitions are among them.
 */
export function listOwnedSequences(session: Session, tables: { oid: number }[]): Promise<Sequence[]> {
  return session.query<Sequence>(
    `SELECT n.nspname AS schema, c.relname AS name
       FROM pg_depend d JOIN pg_class c ON c.oid = d.objid JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_class owner ON owner.oid = d.refobjid
      WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
        AND d.deptype IN ('a', 'i') AND c.relkind = 'S'
        AND CASE WHEN owner.relkind = 'p'
                 THEN NOT EXISTS (SELECT FROM pg_partition_tree(owner.oid) WHERE isleaf AND relid <> ALL ($1::oid[]))
                 ELSE owner.oid = ANY ($1::oid[]) END`,
    [tables.map(({ oid }) => oid)],
  );
}

/**
 * Sets sequences in a way that a rollback undoes: setval alone survives it, but RESTART gives the sequence a
 * new file that belongs to the transaction.
 * https://www.postgresql.org/docs/current/sql-altersequence.html
 */
export async function setSequences(session: Session, states: SequenceState[]): Promise<void> {
  for (const { lastValue, isCalled, ...sequence } of states) {
    await session.query(`ALTER SEQUENCE ${quoteTable(sequence)} RESTART`);
    await session.query('SELECT setval($1::regclass, $2, $3)', [quoteTable(sequence), lastValue, isCalled]);
  }
}
