import { Failure } from '#common';
import {
  isCheckViolation,
  isForeignKeyViolation,
  isRefusal,
  quoteTable,
  type Session,
  sqlState,
} from '#postgres';
import type { RowProgress } from '../shared/row-progress.js';
import { type ParallelTask, runParallel } from './parallel.js';
import type { NotProven } from './not-proven.js';
import { describe, keptOwner, newOwner, type ScriptStatement, unquoted } from './script.js';
import { alone } from './units.js';

/** The sessions of a recover, and what it has learned. */
export interface Workplace {
  /** With the new database. The first one leads. */
  sessions: [Session, ...Session[]];
  /** Things that could not be kept exactly, each with the reason, for people. */
  losses: string[];
  /** Definitions that the role may not create, or that need these: missing if one is a failure. */
  notProven?: NotProven | undefined;
  progress: RowProgress;
  signal: AbortSignal;
}

/** The statements of one object: its definition, what belongs to it, and its comments. */
export interface Group {
  kind: string;
  statements: ScriptStatement[];
}

/** A definition that PostgreSQL refuses, under the settings before it. */
interface Refused {
  settings: ScriptStatement[];
  /** With those that follow it and belong to the same object. */
  statements: ScriptStatement[];
  error: unknown;
}

/**
 * Runs the definitions that come before the rows, one after the other, and the refused ones again, until that makes no
 * difference: pg_dump does not know the objects that a function's body names.
 * @returns refused comments: their objects may come after the rows
 * @throws Failure of the first refused definition
 */
export async function runBeforeRows(
  workplace: Workplace,
  statements: ScriptStatement[],
): Promise<ScriptStatement[]> {
  let refused = await runInOrder(workplace, statements);
  for (let before = Infinity; refused.length > 0 && refused.length < before;) {
    before = refused.length;
    refused = await runInOrder(
      workplace,
      refused.flatMap((one) => [...one.settings, ...one.statements]),
    );
  }
  const comments: ScriptStatement[] = [];
  for (const { statements: own, error } of refused) {
    const [first] = own;
    if (first === undefined || isForbidden(workplace, first, error)) continue;
    if (first.kind !== 'COMMENT') throw refusedDefinition(first, error);
    comments.push(...own);
  }
  return comments;
}

/** @returns the refused definitions @throws Failure of one that no other definition would help */
async function runInOrder(workplace: Workplace, statements: ScriptStatement[]): Promise<Refused[]> {
  const { sessions, progress, signal } = workplace;
  const refused = new Map<string, Refused>();
  const settings = new Map<string, ScriptStatement>();
  for (const [index, statement] of statements.entries()) {
    if (index % 100 === 0) progress.say(`Creating ${statements.length} definitions (${index} done)`);
    signal.throwIfAborted();
    const { kind, object, sql } = statement;
    const waits = refused.get(object);
    if (kind === 'SET') {
      settings.set(sql.split(' ', 2).join(' '), statement);
      await set(workplace, statement);
    } else if (waits !== undefined) waits.statements.push(statement);
    else
      await alone(sessions[0], () => sessions[0].query(sql)).catch((error: unknown) => {
        if (isRefusal(error))
          refused.set(object, { settings: [...settings.values()], statements: [statement], error });
        else if (!isForbidden(workplace, statement, error) && !keepsOwner(workplace, statement, error))
          throw refusedDefinition(statement, error);
      });
  }
  return [...refused.values()];
}

/** undefined_object, undefined_table, undefined_function, invalid_schema_name */
const MISSES_OTHERS = new Set(['42704', '42P01', '42883', '3F000']);

/**
 * Whether a drill goes on without a definition: its role may not create it, the server lacks the extension, or another
 * missing definition is the reason.
 */
function isForbidden({ notProven }: Workplace, statement: ScriptStatement, error: unknown): boolean {
  if (notProven === undefined || !(error instanceof Failure) || error.persistence !== 'permanent')
    return false;
  const owner = newOwner(statement);
  const denied = error.code === 'DATABASE_PERMISSION_DENIED';
  if (denied && owner !== undefined) notProven.addOwner(owner);
  else if (denied || (statement.kind === 'EXTENSION' && isRefusal(error)))
    notProven.addObject(statement, error.message);
  else if (!notProven.isEmpty && MISSES_OTHERS.has(sqlState(error) ?? ''))
    notProven.addObject(statement, 'an object that it needs was not created');
  else return false;
  return true;
}

/**
 * Whether an object stays with the role that recovers, because its archived owner may not have it: event triggers and
 * foreign data wrappers belong to superusers, and roles are created without that attribute.
 */
function keepsOwner({ losses }: Workplace, statement: ScriptStatement, error: unknown): boolean {
  const owner = newOwner(statement);
  if (owner === undefined || !(error instanceof Failure) || error.code !== 'DATABASE_PERMISSION_DENIED')
    return false;
  losses.push(keptOwner(statement, owner));
  return true;
}

/** Adds the statement to a failure. */
function refusedDefinition(statement: ScriptStatement, error: unknown): unknown {
  if (!(error instanceof Failure) || error.persistence !== 'permanent') return error;
  const { code, persistence, message, hint, confidential } = error;
  return new Failure(code, persistence, `Cannot create ${describe(statement)}: ${message}`, {
    cause: error,
    confidential,
    ...(hint !== undefined && { hint }),
  });
}

/** Settings apply to all sessions. Servers refuse those that they do not know. */
async function set({ sessions, losses }: Workplace, { sql }: ScriptStatement): Promise<void> {
  for (const [index, session] of sessions.entries())
    await alone(session, () => session.query(sql)).catch((error: unknown) => {
      if (!isRefusal(error) || !(error instanceof Failure)) throw error;
      if (index === 0 && sql.startsWith('SET default_'))
        losses.push(`${sql.slice(4, -1)} (${error.message})`);
    });
}

/** Kinds that build indexes. */
export const INDEXES = /^(INDEX|CONSTRAINT)$/;
/** Kinds after which rows can no longer be loaded as they were: triggers and rules would run. */
const GUARDS = /^(RULE|TRIGGER|FK CONSTRAINT|POLICY|ROW SECURITY|EVENT TRIGGER)$/;

/**
 * Runs the definitions that come after the rows in their order. Indexes and keys are built in parallel, each statement in
 * a separate transaction: one transaction for several statements of a table would upgrade its lock, and deadlock. A
 * refused definition is a loss.
 * @param beforeGuards called before the first trigger, rule or foreign key
 */
export async function runAfterRows(
  workplace: Workplace,
  statements: ScriptStatement[],
  beforeGuards: () => Promise<void>,
): Promise<void> {
  const { progress, signal } = workplace;
  const groups = groupsOf(statements);
  let guarded = false;
  for (let at = 0; at < groups.length;) {
    const kind = groups[at]?.kind ?? '';
    const run = runFrom(groups, at, kind);
    if (GUARDS.test(kind) && !guarded) {
      guarded = true;
      await beforeGuards();
    }
    progress.allRows(`Creating indexes, keys and other definitions (${at} of ${groups.length} done)`);
    signal.throwIfAborted();
    if (INDEXES.test(kind)) await buildIndexes(workplace, run);
    else if (kind === 'FK CONSTRAINT') await addForeignKeys(workplace, run);
    else for (const group of run) await runGroup(workplace, workplace.sessions[0], group);
    at += run.length;
  }
  if (!guarded) await beforeGuards();
}

/** The unbroken run of groups that can be worked on together, from an index on. */
function runFrom(groups: Group[], from: number, kind: string): Group[] {
  const belongs = (other: string) => (INDEXES.test(kind) ? INDEXES.test(other) : other === kind);
  let to = from + 1;
  while (to < groups.length && belongs(groups[to]?.kind ?? '')) to++;
  return groups.slice(from, to);
}

/** A comment stays with the object before it, or comes last: pg_dump does not know which statement creates its object. */
export function groupsOf(statements: ScriptStatement[]): Group[] {
  const groups: (Group & { object: string })[] = [];
  for (const statement of statements) {
    const { kind, object } = statement;
    const last = groups.at(-1);
    if (last !== undefined && last.object === object && (kind === last.kind || kind === 'COMMENT'))
      last.statements.push(statement);
    else groups.push({ kind, object, statements: [statement] });
  }
  const isComment = ({ kind }: Group) => kind === 'COMMENT';
  return [...groups.filter((group) => !isComment(group)), ...groups.filter(isComment)];
}

const IDENTIFIER = String.raw`(?:"(?:[^"]|"")+"|[\w$\u0080-\uffff]+)`;
const QUALIFIED = String.raw`${IDENTIFIER}\.${IDENTIFIER}`;
const TABLE = new RegExp(
  String.raw`^(?:CREATE (?:UNIQUE )?INDEX ${IDENTIFIER} ON|ALTER TABLE) (?:ONLY )?(${IDENTIFIER})\.(${IDENTIFIER})\s`,
);
const ADDS_KEY = new RegExp(
  String.raw`^ALTER TABLE ONLY (${QUALIFIED})\s+ADD CONSTRAINT (${IDENTIFIER}) FOREIGN KEY .* REFERENCES (${QUALIFIED})\(`,
  's',
);

async function buildIndexes(workplace: Workplace, groups: Group[]): Promise<void> {
  const tasks = groups.map((group) => indexTask(workplace, group));
  await runParallel(workplace.sessions, tasks, workplace.signal);
}

/** Builds an index, or a constraint with its index. */
export function indexTask(workplace: Workplace, group: Group): ParallelTask {
  const table = group.statements.flatMap(({ sql }) => tableOf(sql) ?? []).at(0);
  return {
    ...(table !== undefined && { locks: table }),
    // CREATE INDEX takes a lock that it shares with others of its kind.
    shared: group.statements.every(({ sql }) => /^(CREATE (UNIQUE )?INDEX|ALTER INDEX|COMMENT) /.test(sql)),
    run: async (session) => void (await runGroup(workplace, session, group)),
  };
}

/** The table of an index or a constraint, quoted as {@link quoteTable} does. */
export function tableOf(sql: string): string | undefined {
  const [, schema, name] = TABLE.exec(sql) ?? [];
  return schema === undefined || name === undefined
    ? undefined
    : quoteTable({ schema: unquoted(schema), name: unquoted(name) });
}

/** Adds foreign keys without a look at the rows, and then validates them in parallel: a violated one stays NOT VALID. */
async function addForeignKeys(workplace: Workplace, groups: Group[]): Promise<void> {
  const { sessions, losses, signal } = workplace;
  const validations: ParallelTask[] = [];
  const partitioned = await findPartitioned(sessions[0], groups);
  for (const group of groups) {
    const [first, ...others] = group.statements;
    const [, table, name, target] = ADDS_KEY.exec(first?.sql ?? '') ?? [];
    if (
      first === undefined ||
      table === undefined ||
      name === undefined ||
      partitioned.has(target ?? '') ||
      / NOT (VALID|ENFORCED);$/.test(first.sql)
    ) {
      // PostgreSQL up to 17 has no NOT VALID for partitioned tables, and none validates the keys to partitions.
      await runGroup(workplace, sessions[0], group);
      continue;
    }
    const unvalidated = { ...first, sql: `${first.sql.slice(0, -1)} NOT VALID;` };
    if (await runGroup(workplace, sessions[0], { ...group, statements: [unvalidated, ...others] }))
      validations.push({
        locks: table,
        shared: false,
        run: async (session) => {
          try {
            const validate = `ALTER TABLE ${table} VALIDATE CONSTRAINT ${name}`;
            await again(() => alone(session, () => session.query(validate)));
          } catch (error) {
            if (!isForeignKeyViolation(error)) throw error;
            losses.push(`${describe(first)} (NOT VALID: rows violate it)`);
          }
        },
      });
  }
  await runParallel(sessions, validations, signal);
}

/** The partitioned tables that foreign keys reference. */
async function findPartitioned(session: Session, groups: Group[]): Promise<Set<string>> {
  const targets = groups.flatMap(({ statements }) => ADDS_KEY.exec(statements[0]?.sql ?? '')?.[3] ?? []);
  const rows = await session.query<{ name: string }>(
    `SELECT name FROM unnest($1::text[]) AS wanted (name)
       JOIN pg_class c ON c.oid = to_regclass(name) WHERE c.relkind = 'p'`,
    [[...new Set(targets)]],
  );
  return new Set(rows.map(({ name }) => name));
}

/** Runs the statements of one object. @returns false if PostgreSQL refuses one: then the object is a loss */
async function runGroup(workplace: Workplace, session: Session, { statements }: Group): Promise<boolean> {
  for (const statement of statements) {
    if (statement.kind === 'SET') {
      await set(workplace, statement);
      continue;
    }
    try {
      await again(() => alone(session, () => session.query(statement.sql)));
    } catch (error) {
      if (isCheckViolation(error) && (await addUnvalidated(session, statement))) {
        workplace.losses.push(`${describe(statement)} (NOT VALID: rows violate it)`);
        continue;
      }
      if (isForbidden(workplace, statement, error)) return false;
      if (keepsOwner(workplace, statement, error)) continue;
      if (!isRefusal(error) || !(error instanceof Failure)) throw refusedDefinition(statement, error);
      workplace.losses.push(`${describe(statement)} (${error.message})`);
      return false;
    }
  }
  return true;
}

/** Adds a check that rows violate. @returns whether it is there */
async function addUnvalidated(session: Session, { kind, sql }: ScriptStatement): Promise<boolean> {
  if (kind !== 'CHECK CONSTRAINT' || sql.endsWith(' NOT VALID;')) return false;
  await session.query(`${sql.slice(0, -1)} NOT VALID;`);
  return true;
}

const DEADLOCK = '40P01';
const DEADLOCK_TRIES = 5;

/** Repeats a statement that PostgreSQL ended to break a deadlock. */
async function again<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++)
    try {
      return await work();
    } catch (error) {
      if (sqlState(error) !== DEADLOCK || tries >= DEADLOCK_TRIES) throw error;
    }
}
