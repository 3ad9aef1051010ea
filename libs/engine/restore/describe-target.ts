import type { ManifestTable } from '#archive';
import { formatRows } from '#common';
import { serverAddress } from '#postgres';
import type { Secret } from '#config';
import type { RestoreTarget } from './table-mapping.js';

export interface DescribedTarget extends Pick<RestoreTarget, 'intoSchemas' | 'create'> {
  /** The name of a new database. */
  intoDatabase?: string | undefined;
  swap?: boolean | undefined;
}

/**
 * Says which rows a restore writes where, such as "Replaces 7 tables, 1.55 M rows, in shop at db1:5432".
 * @param url that of the repository
 * @param database its database; missing if the worker has not connected yet
 */
export function describeTarget(
  tables: Pick<ManifestTable, 'rows'>[],
  { intoSchemas, create, intoDatabase, swap }: DescribedTarget,
  url: Secret,
  database = databaseOf(url),
): string {
  const rows = tables.reduce((total, one) => total + one.rows, 0);
  const what = `${tables.length} ${tables.length === 1 ? 'table' : 'tables'}, ${formatRows(rows)}`;
  const { host, port } = serverAddress(url.reveal());
  const at = `at ${host}:${port}`;
  if (intoDatabase !== undefined)
    return swap === true
      ? `Recovers ${what}, into the new database ${intoDatabase} ${at}, which takes the place of ${database}`
      : `Recovers ${what}, into the new database ${intoDatabase} ${at}`;
  if (intoSchemas === undefined) return `Replaces ${what}, in ${database} ${at}`;
  const schemas = Object.values(intoSchemas).join(', ');
  return `${create === true ? 'Creates' : 'Fills'} ${what}, in the schema ${schemas} of ${database} ${at}`;
}

/** Like libpq, PostgreSQL's server takes the user's name for a missing one. */
function databaseOf(url: Secret): string {
  const { pathname, username } = new URL(url.reveal());
  return decodeURIComponent(pathname.slice(1) || username);
}
