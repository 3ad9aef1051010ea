import { Failure } from '#common';
import { sqlState } from '../connection/errors.js';
import { displayTable, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Members } from './members.js';
import type { Omission } from './omission.js';
import type { Observer } from '../connection/observer.js';
import { SCHEMA_OWNER, trustedRoles } from '../trust/plannable-tables.js';
import type { Session } from '../connection/session.js';
import { BY_NAME, inRepository } from './tables.js';

/** A sequence's state, which belongs to no snapshot: not even ROLLBACK resets a sequence. */
export interface SequenceState extends Relation {
  /** As text: a bigint does not fit a JavaScript number. */
  lastValue: string;
  isCalled: boolean;
  /** The column that it belongs to, if any. */
  ownedBy?: OwningColumn;
}

export interface OwningColumn {
  schema: string;
  table: string;
  column: string;
}

/** Sequences that one statement reads. */
const BATCH = 200;

type State = Pick<SequenceState, 'lastValue' | 'isCalled'>;

interface ListedSequence extends Relation {
  oid: number;
  start: string;
  ownedBy: OwningColumn | null;
  /** Whether a query may name it. */
  trusted: boolean;
}

/**
 * Reads the states of the repository's sequences, sorted by name. The owner of a sequence could replace it by a table,
 * whose code would run when PostgreSQL plans a query of it (see {@link listPlannable}). So states are read by OID. Before
 * PostgreSQL 18 that does not return a state that was set and not used. If the owners of the sequence and of its schema
 * gain nothing, a query returns it; otherwise the sequence counts as new, and is an omission.
 * @param session its snapshot decides which sequences exist
 * @param observer has no transaction, so that it keeps no lock that ALTER SEQUENCE would wait for
 * @throws Failure REPOSITORY_CHANGING if a sequence is dropped meanwhile
 */
export async function readSequences(
  session: Session,
  observer: Pick<Observer, 'ask'>,
  members: Pick<Members, 'relations'>,
): Promise<{ sequences: SequenceState[]; omissions: Omission[] }> {
  const listed = await listWithStart(session, members);
  const states = await observer
    .ask((observing) => readStates(observing, listed))
    .catch((error: unknown) => {
      throw IS_GONE.includes(sqlState(error) ?? '') ? sequenceDropped(error) : error;
    });
  const sequences = listed.map(({ oid, schema, name, start, ownedBy }) => {
    const { lastValue, isCalled } = states.get(oid) ?? { lastValue: start, isCalled: false };
    return { schema, name, lastValue, isCalled, ...(ownedBy !== null && { ownedBy }) };
  });
  const unknown = listed.filter(({ oid }) => !states.has(oid));
  const omissions = unknown.map((sequence) => ({
    kind: 'sequenceState' as const,
    count: 1,
    what: `the state of the sequence ${displayTable(sequence)}`,
    why: 'it was never used, and before PostgreSQL 18 only a query returns its value, which could run code of its owner; it counts as new',
  }));
  return { sequences, omissions };
}

function listWithStart(
  session: Session,
  { relations }: Pick<Members, 'relations'>,
): Promise<ListedSequence[]> {
  return session.query<ListedSequence>(
    `WITH asked AS (SELECT n.nspname AS schema, c.relname AS name, c.oid, c.relowner, ${SCHEMA_OWNER} AS schema_owner FROM ${inRepository('S')}),
          trusted AS (${trustedRoles('SELECT relowner FROM asked UNION SELECT schema_owner FROM asked')})
     SELECT schema, name, oid::int8::float8 AS oid, s.seqstart AS start,
            (SELECT json_build_object('schema', tn.nspname, 'table', t.relname, 'column', a.attname)
               FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace
               JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
              WHERE d.classid = 'pg_class'::regclass AND d.objid = asked.oid AND d.refclassid = 'pg_class'::regclass
                AND d.deptype IN ('a', 'i')) AS "ownedBy",
            relowner IN (SELECT oid FROM trusted) AND schema_owner IN (SELECT oid FROM trusted) AS trusted
       FROM asked JOIN pg_sequence s ON s.seqrelid = asked.oid
      ORDER BY schema COLLATE "C", name COLLATE "C"`,
    [relations],
  );
}

/** @returns states by OID, without unknown ones */
async function readStates(session: Session, sequences: ListedSequence[]): Promise<Map<number, State>> {
  const [server] = await session.query<{ readsAll: boolean }>(
    `SELECT to_regproc('pg_catalog.pg_get_sequence_data') IS NOT NULL AS "readsAll"`,
  );
  const readsAll = server?.readsAll === true;
  const answers = await session.query<{ oid: number; lastValue: string | null; isCalled: boolean }>(
    readsAll
      ? `SELECT oid::int8::float8 AS oid, last_value AS "lastValue", is_called AS "isCalled"
           FROM unnest($1::oid[]) AS oid, pg_get_sequence_data(oid::regclass)`
      : `SELECT oid::int8::float8 AS oid, pg_sequence_last_value(oid::regclass) AS "lastValue", true AS "isCalled"
           FROM unnest($1::oid[]) AS oid`,
    [sequences.map(({ oid }) => oid)],
  );
  const states = new Map<number, State>();
  for (const { oid, lastValue, isCalled } of answers)
    if (lastValue !== null) states.set(oid, { lastValue, isCalled });
    else if (readsAll) throw sequenceDropped();
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

/** undefined_table; internal_error, which functions raise for the OID of a dropped sequence. */
const IS_GONE = ['42P01', 'XX000'];

function sequenceDropped(cause?: unknown): Failure {
  return new Failure(
    'REPOSITORY_CHANGING',
    'transient',
    'A sequence of the repository was dropped while its backup ran.',
    { hint: 'Start the backup again when the migration has finished.', cause },
  );
}

/** Lists the sequences among the members, sorted by name. */
export function listSequences(
  session: Session,
  { relations }: Pick<Members, 'relations'>,
): Promise<Relation[]> {
  return session.query<Relation>(
    `SELECT n.nspname AS schema, c.relname AS name FROM ${inRepository('S')} ${BY_NAME}`,
    [relations],
  );
}

/**
 * Lists the sequences that belong to columns of these tables, or of a partitioned table whose partitions are all among
 * these tables.
 */
export function listOwnedSequences(session: Session, tables: { oid: number }[]): Promise<Relation[]> {
  return session.query<Relation>(
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
 * Sets sequences in a way that a rollback undoes. A rollback does not undo setval alone, but RESTART gives the sequence
 * a new file that belongs to the transaction.
 * https://www.postgresql.org/docs/current/sql-altersequence.html
 */
export async function setSequences(session: Session, states: SequenceState[]): Promise<void> {
  for (const { lastValue, isCalled, ...sequence } of states) {
    await session.query(`ALTER SEQUENCE ${quoteTable(sequence)} RESTART`);
    await session.query('SELECT setval($1::regclass, $2, $3)', [quoteTable(sequence), lastValue, isCalled]);
  }
}
