import { displayTable, quoteTable, type Relation } from '../connection/identifiers.js';

/** An object that a load suspends and reinstates exactly: a foreign key, a check, an index, a trigger, row security. */
export interface Suspension {
  /** For messages: "the foreign key node_parent_id_fkey of repository.node". */
  what: string;
  /** The table that the statements alter; missing for a domain's check. */
  table?: Relation;
  /** The quoted name of the table or domain that the role must own. */
  relation: string;
  owned: boolean;
  suspend: string;
  reinstate: string[];
  /** The OID of the table whose rows are checked when it is reinstated. */
  validates?: number;
  /** The statement that reinstates it if its rows violate it and the restore may keep them. */
  unvalidated?: string;
  /** Of a check that is reinstated unvalidated, because it may read any table: the statement that validates it later. */
  validate?: {
    statement: string;
    /** The OID of the table whose trusted path it runs under. */ under: number;
  };
  /** The OID of the index. */
  index?: number;
  /** Why it is not reinstated. */
  lost?: string;
}

/** An index, a foreign key or a trigger of a table. */
export interface TableObject {
  schema: string;
  table: string;
  name: string;
  owned: boolean;
}

/** A table's object that is reinstated from its definition. */
export interface DefinedObject extends TableObject {
  definition: string;
  comment: string | null;
}

/** Returns the facts of a suspension that follow from its table. @param kind such as "index" */
export function ofTable(kind: string, { schema, table: tableName, name, owned }: TableObject) {
  const table = { schema, name: tableName };
  return { what: `the ${kind} ${name} of ${displayTable(table)}`, table, relation: quoteTable(table), owned };
}

/** pg_trigger.tgenabled and pg_event_trigger.evtenabled: https://www.postgresql.org/docs/current/catalog-pg-trigger.html */
export const ENABLE: Record<string, string> = { O: 'ENABLE', A: 'ENABLE ALWAYS', R: 'ENABLE REPLICA' };
