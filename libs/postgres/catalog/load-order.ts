import { type CodeUse, FunctionBodies } from './code-uses.js';
import { displayTable, quoteTable } from '../connection/identifiers.js';
import { afterNeeds } from './ordering.js';
import { attempt } from '../connection/savepoint.js';
import type { Session } from '../connection/session.js';
import type { NamedTable } from './tables.js';
import { type TrustedPath, underPath } from './trusted-path.js';

/** An index whose functions may read tables: it must be built again once all rows are there. */
export interface LateIndex {
  oid: number;
  schema: string;
  name: string;
  relation: number;
}

export interface LoadOrder<Table> {
  /** The tables to be loaded after all others, in this order: their rows pass through functions that may read those. */
  late: Table[];
  indexes: LateIndex[];
  /** Generated columns whose functions may read tables. */
  columns: { relation: number; name: string }[];
  /** What cannot be made exact by any order, by name. */
  inexact: string[];
}

/** What runs while rows are loaded. Checks of tables are suspended, and most of domains. */
const AT_LOAD = ['generated', 'partition', 'index', 'domain'];

/** Puts the tables whose loading calls functions of users after those that the functions may read. */
export async function loadOrder<Table extends NamedTable>(
  session: Session,
  tables: Table[],
  allUses: CodeUse[],
): Promise<LoadOrder<Table>> {
  const uses = allUses.filter(({ kind }) => AT_LOAD.includes(kind));
  if (uses.length === 0) return { late: [], indexes: [], columns: [], inexact: [] };
  const bodies = await FunctionBodies.read(session);
  const reads = new Map(
    tables.map((table) => {
      const own = uses.filter(({ relation }) => relation === table.oid);
      return [
        table,
        bodies.tablesRead(
          own.flatMap(({ functions }) => functions),
          tables,
        ),
      ];
    }),
  );
  const callers = tables.filter(({ oid }) => uses.some(({ relation }) => relation === oid));
  const late = afterNeeds(callers, (table) =>
    (reads.get(table) ?? []).filter((one) => callers.includes(one)),
  );
  const inexact = late.flatMap((table, index) => {
    const generated = uses.filter(({ relation, kind }) => relation === table.oid && kind === 'generated');
    const functions = generated.flatMap((use) => use.functions);
    const later = bodies.tablesRead(functions, late.slice(index));
    return later.length === 0
      ? []
      : [
          `generated columns of ${displayTable(table)} (computed before all rows of ${later.map(displayTable).join(', ')} were there, which their functions may read)`,
        ];
  });
  const reading = uses.filter(({ functions }) => bodies.mayRead(functions));
  const indexes = await listIndexes(
    session,
    reading.filter(({ kind }) => kind === 'index'),
  );
  const columns = reading.flatMap(({ relation, column }) =>
    column === null ? [] : { relation, name: column },
  );
  return { late, indexes, columns, inexact };
}

function listIndexes(session: Session, uses: CodeUse[]): Promise<LateIndex[]> {
  return session.query<LateIndex>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name, x.indrelid::int8::float8 AS relation
       FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE x.indexrelid = ANY ($1::oid[]) AND x.indisvalid ORDER BY c.oid`,
    [uses.map(({ id }) => id)],
  );
}

/**
 * Builds indexes again. PostgreSQL takes their expressions as they are, parsed, so that the path matters for the bodies
 * of functions only.
 * @returns those that PostgreSQL does not build again, each with the reason
 */
export async function rebuildIndexes(
  session: Session,
  indexes: LateIndex[],
  paths: Map<number, TrustedPath>,
): Promise<string[]> {
  const stale: string[] = [];
  for (const index of indexes) {
    const rebuild = () => session.query(`REINDEX INDEX ${quoteTable(index)}`);
    const failure = await attempt(session, () => underPath(session, paths.get(index.relation), rebuild));
    if (failure !== undefined)
      stale.push(
        `the index ${displayTable(index)} (filled before all rows were there, and not built again: ${failure.sentence})`,
      );
  }
  return stale;
}
