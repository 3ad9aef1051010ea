import { readSequences, type SequenceState } from '../catalog/sequences.js';
import type { Omission } from '../catalog/omission.js';
import { displayTable, quoteIdentifier, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Observer } from '../connection/observer.js';
import type { Session } from '../connection/session.js';

export interface ConfigurationSequence extends Relation {
  oid: number;
  extension: string;
  /** Why its state cannot be read, with the statement to run. */
  obstacle: string | undefined;
}

/** Lists the sequences that the database's extensions mark as their configuration, sorted by name. */
export async function listConfigurationSequences(session: Session): Promise<ConfigurationSequence[]> {
  const rows = await session.query<ConfigurationSequence & { readable: boolean; role: string }>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name, e.extname AS extension,
            current_user AS role,
            has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT') IS NOT FALSE AS readable
       FROM pg_extension e CROSS JOIN unnest(e.extconfig) AS marked (oid)
       JOIN pg_class c ON c.oid = marked.oid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'S' ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
  );
  return rows.map(({ readable, role, ...sequence }) => {
    const to = `TO ${quoteIdentifier(role)};`;
    const grant = `the role ${role} may not read it. Run: GRANT USAGE ON SCHEMA ${quoteIdentifier(sequence.schema)} ${to} GRANT SELECT ON ${quoteTable(sequence)} ${to}`;
    return { ...sequence, obstacle: readable ? undefined : grant };
  });
}

/** Reads the states of those sequences, as {@link readSequences} does. The others are omissions. */
export async function readConfigurationSequences(
  session: Session,
  observer: Pick<Observer, 'ask'>,
): Promise<{ sequences: (SequenceState & { extension: string })[]; omissions: Omission[] }> {
  const listed = await listConfigurationSequences(session);
  const relations = listed.filter(({ obstacle }) => obstacle === undefined).map(({ oid }) => oid);
  const { sequences, omissions } = await readSequences(session, observer, { relations });
  const extensions = new Map(listed.map((one) => [quoteTable(one), one.extension]));
  const closed = listed.flatMap(({ extension, obstacle, ...sequence }): Omission[] =>
    obstacle === undefined
      ? []
      : [
          {
            kind: 'sequenceState',
            count: 1,
            what: `the state of the sequence ${displayTable(sequence)}`,
            why: `configuration of the extension ${extension}, and ${obstacle}`,
          },
        ],
  );
  return {
    sequences: sequences.map((one) => ({ ...one, extension: extensions.get(quoteTable(one)) ?? '' })),
    omissions: [...omissions, ...closed],
  };
}
