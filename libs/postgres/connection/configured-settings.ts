import { quoteIdentifier, quoteLiteral } from './identifiers.js';

/** A setting of a role or a database. */
export interface Setting {
  name: string;
  /** As pg_db_role_setting holds it: the names in a list such as search_path are quoted if needed. */
  value: string;
}

/** Settings whose values are lists of names (GUC_LIST_QUOTE): https://www.postgresql.org/docs/current/runtime-config.html */
const LISTS = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
]);

/** Splits an element of pg_db_role_setting.setconfig. */
export function settingOf(text: string): Setting {
  const at = text.indexOf('=');
  return { name: text.slice(0, at), value: text.slice(at + 1) };
}

/** Returns the end of a statement that sets it: `SET "name" TO 'value'`. */
export function setClause({ name, value }: Setting): string {
  const isList = LISTS.has(name.toLowerCase());
  const values = isList ? listedNames(value) : [value];
  // An empty list is the empty name.
  return `SET ${quoteIdentifier(name)} TO ${(values.length > 0 ? values : ['']).map(quoteLiteral).join(', ')}`;
}

/** The names in a list: each in double quotes, or up to the next comma. */
function listedNames(list: string): string[] {
  return [...list.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^",\s][^,]*?))\s*(?:,|$)/g)].map(
    ([, quoted, plain = '']) => quoted?.replaceAll('""', '"') ?? plain,
  );
}
