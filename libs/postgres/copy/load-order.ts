import { type CodeUse, FunctionBodies } from '../catalog/code-uses.js';
import { displayTable, quoteTable, type Relation } from '../connection/identifiers.js';
import { afterNeeds } from '../catalog/ordering.js';
import { attempt } from '../connection/transactions.js';
import type { Session } from '../connection/session.js';
import type { NamedTable } from '../catalog/tables.js';
import { type TrustedPath, underPath } from '../trust/trusted-path.js';

/** An index whose functions may read tables: it must be rebuilt when all rows are loaded. */
export interface LateIndex extends Relation {
  oid: number;
  /** The table's OID. */
  relation: number;
}

export interface LoadOrder<Table> {
  /** The tables to load after all others, in this order, because loading them calls functions that may read others. */
  late: Table[];
  indexes: LateIndex[];
  /** Generated columns whose functions may read tables. */
  columns: { relation: number; name: string }[];
  /** Generated columns that no order makes exact, for messages. */
  inexact: string[];
}

/** The kinds of expressions that run while rows are loaded. Checks of tables and most checks of domains are suspended. */
const AT_LOAD = ['generated', 'partition', 'index', 'domain'];

/** Orders tables so that a table whose loading calls functions of users comes after those that the functions may read. */
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
          `generated columns of ${displayTable(table)} (computed before all rows of ${later.map(displayTable).join(', ')} were loaded, which their functions may read)`,
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
 * Rebuilds indexes. Their expressions are stored parsed, so that the path matters for the bodies of functions only.
 * @returns the indexes that PostgreSQL refused to rebuild, each with the reason, for messages
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
        `the index ${displayTable(index)} (filled before all rows were loaded, and not rebuilt: ${failure.sentence})`,
      );
  }
  return stale;
}
