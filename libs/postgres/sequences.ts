import { Failure } from '#contracts';
import { sqlState } from './errors.js';
import { quoteTable } from './identifiers.js';
import type { Session } from './session.js';

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

/**
 * The repository's sequences with their present states, sorted by name.
 * @throws Failure REPOSITORY_CHANGING when one is dropped meanwhile: nothing can lock a sequence against that
 */
export async function readSequences(session: Session, schemas: string[]): Promise<SequenceState[]> {
  const sequences = await listSequences(session, schemas);
  const states: SequenceState[] = [];
  for (let from = 0; from < sequences.length; from += BATCH) {
    const batch = sequences.slice(from, from + BATCH);
    const selects = batch.map(
      (sequence, index) => `SELECT ${index} AS index, last_value, is_called FROM ${quoteTable(sequence)}`,
    );
    const rows = await session
      .query<{
        index: number;
        last_value: string;
        is_called: boolean;
      }>(`${selects.join(' UNION ALL ')} ORDER BY index`)
      .catch((error: unknown) => {
        throw IS_GONE.includes(sqlState(error) ?? '') ? sequenceDropped(error) : error;
      });
    for (const { index, last_value: lastValue, is_called: isCalled } of rows) {
      const sequence = batch[index];
      if (sequence !== undefined) states.push({ ...sequence, lastValue, isCalled });
    }
  }
  return states;
}

/** undefined_table, and object_not_in_prerequisite_state where a view has taken its place. */
const IS_GONE = ['42P01', '55000'];

function sequenceDropped(cause: unknown): Failure {
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
    `SELECT n.nspname AS schema, c.relname AS name
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = ANY ($1) AND c.relkind = 'S' AND c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_depend d
                         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
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
