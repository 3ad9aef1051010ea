import { quoteTable, type Relation } from '#postgres';
import { type Group, groupsOf, INDEXES, tableOf } from './definitions.js';
import type { ScriptStatement } from './script.js';

/**
 * Columns only, with their operator classes and orders. An expression or a condition may call functions that read tables
 * whose rows are still missing.
 */
const PLAIN_INDEX = /^CREATE (?:UNIQUE )?INDEX [^()]+ \([^()]+\)(?: INCLUDE \([^()]+\))?;$/;
const PLAIN_CONSTRAINT =
  /^ALTER TABLE [^()]+ ADD CONSTRAINT [^()]+ (?:PRIMARY KEY|UNIQUE) \([^()]+\)(?: INCLUDE \([^()]+\))?;$/s;

/** Index builds that need not wait for the rows of all tables: a session without rows to load begins with them. */
export class EarlyIndexes {
  private readonly groups = new Map<string, Group[]>();
  private readonly taken = new Set<ScriptStatement>();

  /**
   * @param afterRows the definitions that come after the rows, in their order
   * @param mayBegin false if nothing may be built yet
   */
  constructor(
    private readonly afterRows: ScriptStatement[],
    mayBegin: boolean,
  ) {
    if (!mayBegin) return;
    const groups = groupsOf(afterRows);
    const settings = groups.findIndex(({ kind }) => kind === 'SET');
    for (const group of settings === -1 ? groups : groups.slice(0, settings)) {
      const [{ sql } = { sql: '' }] = group.statements;
      const table = tableOf(sql);
      if (table === undefined || !INDEXES.test(group.kind)) continue;
      if (!PLAIN_INDEX.test(sql) && !PLAIN_CONSTRAINT.test(sql)) continue;
      this.groups.set(table, [...(this.groups.get(table) ?? []), group]);
    }
  }

  /** Takes the indexes and keys that can be built when a table has its rows. */
  take(table: Relation): Group[] {
    const groups = this.groups.get(quoteTable(table)) ?? [];
    for (const { statements } of groups) for (const statement of statements) this.taken.add(statement);
    return groups;
  }

  /** The definitions that were not taken. */
  get others(): ScriptStatement[] {
    return this.afterRows.filter((statement) => !this.taken.has(statement));
  }
}
