import { nameBoundIn } from './name-bound.js';
import { mentions, NAMES_ROLES, type RoleOptions } from './roles.js';
import { describe, newOwner, type Script, type ScriptStatement } from './script.js';

/** The statements of a recover, in the order of their phases. */
export interface SelectedStatements extends Omit<Script, 'dumpedBy'> {
  /** They come last: everything before would fire them. */
  eventTriggers: ScriptStatement[];
  /** They wait until the database has its name. */
  afterRename: ScriptStatement[];
  /** Definitions that are left out, with the reason, for people. */
  losses: string[];
}

/**
 * Selects the statements that a recover runs. It never creates subscriptions: a database with one cannot be dropped, and
 * dropping a subscription drops the live slot of its publisher.
 * @param missing roles that the server lacks
 */
export function selectStatements(
  script: Script,
  { noOwner, missing }: RoleOptions & { missing: string[] },
): SelectedStatements {
  const namesMissing = (sql: string) => missing.some((role) => mentions(sql, role));
  const losses: string[] = [];
  const isWanted = (statement: ScriptStatement) => {
    const { kind, sql } = statement;
    const owner = newOwner(statement);
    if (owner !== undefined && (noOwner === true || missing.includes(owner))) return false;
    // Rights that another role has granted.
    if (noOwner === true && /^(RE)?SET SESSION AUTHORIZATION\b/.test(sql)) return false;
    if (kind === 'SUBSCRIPTION' && sql.startsWith('CREATE '))
      losses.push(
        `${describe(statement)} (not created: two databases must not share a slot. Its definition: ${oneLine(sql)})`,
      );
    if (subscriptions.has(statement.object)) return false;
    if (NAMES_ROLES.test(kind) && namesMissing(sql)) {
      losses.push(`${describe(statement)} (its roles are missing)`);
      return false;
    }
    return true;
  };
  const subscriptions = objectsOf(script, /^SUBSCRIPTION/);
  const triggers = objectsOf(script, /^EVENT TRIGGER$/);
  const isBound = nameBoundIn(script.beforeRows);
  const before = script.beforeRows.filter(isWanted);
  const after = script.afterRows.filter(isWanted);
  const wanted = after.filter((statement) => !isBound(statement));
  return {
    beforeRows: before.filter((statement) => !isBound(statement)),
    afterRows: wanted.filter(({ object }) => !triggers.has(object)),
    afterRename: [...before, ...after].filter(isBound),
    eventTriggers: wanted.filter(({ object }) => triggers.has(object)),
    losses: [...new Set(losses)],
  };
}

function objectsOf({ afterRows }: Script, kinds: RegExp): Set<string> {
  return new Set(afterRows.filter(({ kind }) => kinds.test(kind)).map(({ object }) => object));
}

function oneLine(sql: string): string {
  return sql.replace(/\s+/g, ' ');
}
