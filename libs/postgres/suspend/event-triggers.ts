import { Failure } from '#common';
import { quoteIdentifier } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { ENABLE } from './suspension.js';

/** How a restore keeps event triggers from firing on its statements. */
export interface EventTriggerPlan {
  /** Turn off all event triggers for this transaction. PostgreSQL 17 and newer. */
  turnOff: boolean;
  /** Otherwise: disable these, and enable them afterwards. */
  disabled: { name: string; state: string }[];
}

const NOTHING: EventTriggerPlan = { turnOff: false, disabled: [] };

interface EventTrigger {
  name: string;
  /** pg_event_trigger.evtenabled */
  state: string;
  role: string;
  /** Whether this role may disable it: only superusers own event triggers. */
  owned: boolean;
}

/** Statements that a restore in place may run. */
const RESTORE_TAGS = [
  'ALTER DOMAIN',
  'ALTER SEQUENCE',
  'ALTER TABLE',
  'COMMENT',
  'CREATE INDEX',
  'DROP INDEX',
  'REFRESH MATERIALIZED VIEW',
];

/**
 * Decides how to keep event triggers from firing on these statements, because their code would run during the restore.
 * Event triggers of extensions may fire.
 * @param statements to be executed
 * @param mayFire whether to let all of them fire
 * @throws Failure EVENT_TRIGGER naming those that this role cannot keep from firing
 */
export async function planEventTriggers(
  session: Session,
  statements: string[],
  mayFire: boolean,
): Promise<EventTriggerPlan> {
  const tags = [...new Set(statements.map(commandTag))];
  const triggers = mayFire ? [] : await listFiring(session, tags);
  if (triggers.length === 0) return NOTHING;
  const turnOff = await mayTurnOff(session);
  if (turnOff === true) return { turnOff, disabled: [] };
  const others = triggers.filter(({ owned }) => !owned);
  if (others.length > 0)
    throw new Failure('EVENT_TRIGGER', 'permanent', `${named(others)} would fire during the restore.`, {
      hint: `Nothing was changed. ${remedy(others, turnOff !== undefined)}`,
    });
  return { turnOff: false, disabled: triggers };
}

/** Warns of event triggers because of which restores by this role fail. */
export async function warnOfEventTriggers(session: Session): Promise<string[]> {
  const others = (await listFiring(session, RESTORE_TAGS)).filter(({ owned }) => !owned);
  if (others.length === 0) return [];
  const turnOff = await mayTurnOff(session);
  if (turnOff === true) return [];
  return [
    `${named(others)} prevents restores by the role ${others[0]?.role}. ${remedy(others, turnOff !== undefined)}`,
  ];
}

/** Keeps event triggers from firing until {@link reinstateEventTriggers}, or until the transaction ends. */
export async function suspendEventTriggers(session: Session, plan: EventTriggerPlan): Promise<void> {
  if (plan.turnOff) await session.query('SET LOCAL event_triggers = off');
  if (plan.disabled.length === 0) return;
  // The lock makes a second session wait: PostgreSQL refuses concurrent changes of a catalog row. Only superusers can
  // hold it, while every role that may connect could hold an advisory lock.
  await session.query('LOCK TABLE pg_catalog.pg_event_trigger IN SHARE ROW EXCLUSIVE MODE');
  for (const { name } of plan.disabled)
    await session.query(`ALTER EVENT TRIGGER ${quoteIdentifier(name)} DISABLE`);
}

/** Enables the event triggers that {@link suspendEventTriggers} disabled. */
export async function reinstateEventTriggers(session: Session, plan: EventTriggerPlan): Promise<void> {
  for (const { name, state } of plan.disabled)
    await session.query(`ALTER EVENT TRIGGER ${quoteIdentifier(name)} ${ENABLE[state] ?? 'ENABLE'}`);
}

function listFiring(session: Session, tags: string[]): Promise<EventTrigger[]> {
  return session.query<EventTrigger & Record<string, unknown>>(
    `SELECT evtname AS name, evtenabled AS state, current_user AS role, pg_has_role(evtowner, 'USAGE') AS owned
       FROM pg_event_trigger t
      WHERE evtenabled IN ('A', CASE current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END)
        AND evtevent IN ('ddl_command_start', 'ddl_command_end', 'sql_drop') AND cardinality($1::text[]) > 0
        AND (evttags IS NULL OR evttags && $1)
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e')
      ORDER BY evtname`,
    [tags],
  );
}

/** Whether this role may turn off event triggers. @returns undefined if the server has no such setting */
async function mayTurnOff(session: Session): Promise<boolean | undefined> {
  const [setting] = await session.query(`SELECT FROM pg_settings WHERE name = 'event_triggers'`);
  if (setting === undefined) return undefined;
  const [answer] = await session.query<{ may: boolean }>(
    `SELECT has_parameter_privilege('event_triggers', 'SET') AS may`,
  );
  return answer?.may === true;
}

function named(triggers: EventTrigger[]): string {
  return `The event trigger ${triggers.map(({ name }) => name).join(', ')}`;
}

function remedy(triggers: EventTrigger[], canBeTurnedOff: boolean): string {
  const role = quoteIdentifier(triggers[0]?.role ?? '');
  const disable = triggers.map(({ name }) => `ALTER EVENT TRIGGER ${quoteIdentifier(name)} DISABLE;`);
  const grant = canBeTurnedOff ? ` or, once, GRANT SET ON PARAMETER event_triggers TO ${role};` : '.';
  return `Have a superuser run ${disable.join(' ')} for the time of the restore${grant} Or set fireEventTriggers, which lets them fire.`;
}

/** Returns the command tag of a statement: ALTER TABLE, CREATE INDEX, REFRESH MATERIALIZED VIEW. */
function commandTag(statement: string): string {
  const [, tag = statement] =
    /^(COMMENT|ALTER LARGE OBJECT|REFRESH MATERIALIZED VIEW|CREATE UNIQUE INDEX|\w+ \w+)/.exec(statement) ??
    [];
  return tag.replace(' UNIQUE', '');
}
