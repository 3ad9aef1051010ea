import {
  type ConnectionFacts,
  describeLockRoom,
  displayTable,
  findUnreadable,
  listCodeUses,
  listSequences,
  listSuspensions,
  type Members,
  missingOwnership,
  quoteIdentifier,
  recoverRights,
  type RecoverRights,
  type Session,
  type Table,
  warnOfEventTriggers,
  warnOfLocks,
} from '#postgres';
import { type Findings, named } from './findings.js';

/** Checks what the role may do with these tables, and what stands in the way of a restore. */
export async function checkRights(
  session: Session,
  members: Members,
  tables: Table[],
  { role, standby }: ConnectionFacts,
  findings: Findings,
): Promise<void> {
  await findings.part('backupRights', () => checkBackupRights(session, members, role, findings));
  if (!standby)
    await findings.part('restoreRights', async () => {
      const uses = await listCodeUses(session, tables);
      const suspensions = await listSuspensions(session, tables, { large: [], uses, keepViolations: false });
      const sequences = await listSequences(session, members);
      const missing = await missingOwnership(session, [...tables, ...sequences], suspensions);
      if (missing === undefined)
        findings.ok(
          'restoreRights',
          `The role ${role} may restore in place: it has the rights of all owners.`,
        );
      else
        findings.warning('restoreRights', `Restores in place would fail. ${missing.message}`, [
          ...missing.grants,
          ...missing.changes,
        ]);
    });
  await findings.part('recoverRights', async () =>
    checkRecoverRights(await recoverRights(session, members), findings),
  );
  await findings.part('eventTriggers', async () => {
    const warnings = await warnOfEventTriggers(session);
    for (const warning of warnings) findings.warning('eventTriggers', warning);
    if (warnings.length === 0)
      findings.ok('eventTriggers', 'No event trigger stands in the way of a restore.');
  });
  await findings.part('locks', async () => {
    const warnings = await warnOfLocks(session, tables, (await listSequences(session, members)).length);
    for (const warning of warnings) findings.warning('locks', warning);
    if (warnings.length === 0) findings.ok('locks', await describeLockRoom(session, tables));
  });
}

/** pg_read_all_data comes first: it also covers tables that are created later. */
async function checkBackupRights(
  session: Session,
  members: Members,
  role: string,
  findings: Findings,
): Promise<void> {
  const lacking = await findUnreadable(session, members);
  if (lacking === undefined)
    return findings.ok('backupRights', `The role ${role} may read all tables and sequences.`);
  const { closed, unreadable, hidden } = lacking;
  const me = quoteIdentifier(role);
  const schemas = [...new Set([...closed, ...unreadable.map(({ schema }) => schema)])].map(quoteIdentifier);
  const lacksGrant = schemas.length > 0;
  const faults = [
    ...(closed.length > 0 ? [`The role ${role} may not use the schema ${named(closed)}.`] : []),
    ...(unreadable.length > 0 ? [`It may not read ${named(unreadable.map(displayTable))}.`] : []),
    ...(hidden.length > 0
      ? [`Row security may hide rows of ${named(hidden.map(displayTable))} from it.`]
      : []),
    ...(lacksGrant
      ? [
          `Instead of pg_read_all_data, grants for the present tables are enough: GRANT USAGE ON SCHEMA ${schemas.join(', ')} TO ${me}; GRANT SELECT ON ALL TABLES IN SCHEMA ${schemas.join(', ')} TO ${me}; GRANT SELECT ON ALL SEQUENCES IN SCHEMA ${schemas.join(', ')} TO ${me};`,
        ]
      : []),
  ];
  findings.problem('backupRights', faults.join(' '), [
    ...(lacksGrant ? [`GRANT pg_read_all_data TO ${me};`] : []),
    ...(hidden.length > 0 ? [`ALTER ROLE ${me} BYPASSRLS;`] : []),
  ]);
}

function checkRecoverRights(rights: RecoverRights, findings: Findings): void {
  const { role, superuser, createsDatabases, owners, superusers, onlySuperuser, hasOptions } = rights;
  if (superuser) return findings.ok('recoverRights', `The role ${role} may recover: it is a superuser.`);
  const me = quoteIdentifier(role);
  const faults = [
    ...(createsDatabases ? [] : ['It may not create databases.']),
    ...(owners.length > 0 ? [`It lacks the rights of the owners ${named(owners)}.`] : []),
    ...(superusers.length > 0
      ? [`Objects of the superuser ${named(superusers)} change their owner: recover with noOwner.`]
      : []),
    ...(onlySuperuser.length > 0 ? [`Only a superuser may create ${named(onlySuperuser)}.`] : []),
  ];
  if (faults.length === 0)
    return findings.ok('recoverRights', `The role ${role} may recover into a new database of this server.`);
  findings.warning(
    'recoverRights',
    `The role ${role} cannot recover everything into a new database of this server. ${faults.join(' ')}`,
    [
      ...(createsDatabases ? [] : [`ALTER ROLE ${me} CREATEDB;`]),
      ...(owners.length > 0
        ? [
            `GRANT ${owners.map(quoteIdentifier).join(', ')} TO ${me}${hasOptions ? ' WITH INHERIT TRUE, SET TRUE' : ''};`,
          ]
        : []),
    ],
  );
}
