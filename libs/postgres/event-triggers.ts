import { Failure } from '#contracts';
import type { Session } from './session.js';

/**
 * Refuses when event triggers would fire on these statements: they are somebody's code that would run in the
 * middle of a restore, and only a superuser could disable them.
 * @param statements what will be executed
 * @throws Failure EVENT_TRIGGER naming them
 */
export async function checkEventTriggers(session: Session, statements: string[]): Promise<void> {
  const tags = new Set(statements.map(commandTag));
  const rows = await session.query<{ name: string }>(
    `SELECT evtname AS name FROM pg_event_trigger
      WHERE evtenabled IN ('O', 'A') AND evtevent IN ('ddl_command_start', 'ddl_command_end', 'sql_drop')
        AND (evttags IS NULL OR evttags && $1::text[])
      ORDER BY evtname`,
    [[...tags]],
  );
  if (rows.length === 0 || tags.size === 0) return;
  const names = rows.map(({ name }) => name).join(', ');
  throw new Failure(
    'EVENT_TRIGGER',
    'permanent',
    `The event trigger ${names} would fire during the restore.`,
    {
      hint: `Nothing was changed. Have a superuser run ALTER EVENT TRIGGER … DISABLE for the time of the restore.`,
    },
  );
}

/** The first words of a statement, which name it: ALTER TABLE, CREATE INDEX, REFRESH MATERIALIZED VIEW. */
function commandTag(statement: string): string {
  const [, tag = statement] =
    /^(COMMENT|REFRESH MATERIALIZED VIEW|CREATE UNIQUE INDEX|\w+ \w+)/.exec(statement) ?? [];
  return tag.replace(' UNIQUE', '');
}
