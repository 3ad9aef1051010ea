import { OWN_SCHEMAS } from '#config';
import { Failure } from '#contracts';
import {
  type Definitions,
  dumpDefinitions,
  type LeftOut,
  limitsStatements,
  listClosedSchemas,
  type PgDump,
  type Session,
  type Snapshot,
  whyUnusable,
} from '#postgres';
import type { BackupRequest } from './backup.js';

export interface DefinitionsRequest extends Pick<BackupRequest, 'definitions' | 'repository' | 'signal'> {
  /** Of the session that exported the snapshot. */
  applicationName: string;
  /** What was found on PATH. */
  program: PgDump | undefined;
}

/** `auto`: where there is a pg_dump that can read the server. `required`: or there is no backup at all. */
export type DefinitionsMode = 'auto' | 'required' | 'off';

export interface DefinitionsDump {
  /** Missing where the archive is to hold none. */
  definitions?: Definitions;
  leftOut: LeftOut[];
}

/**
 * Starts to read the definitions of the whole database, as far as the role may read them: tables may need types,
 * functions and extensions from other schemas than their own.
 * @throws Failure DEFINITIONS_FAILED
 */
export async function startDefinitions(
  { definitions: mode, repository, applicationName, program, signal }: DefinitionsRequest,
  session: Session,
  snapshot: Snapshot,
): Promise<DefinitionsDump> {
  if (mode === 'off') return { leftOut: [without('BACKUP_DEFINITIONS is off')] };
  const reason = whyUnusable(program, snapshot.serverVersion);
  if (reason !== undefined && mode === 'required')
    throw new Failure('DEFINITIONS_FAILED', 'permanent', `Definitions cannot be read: ${reason}.`, {
      hint: "Install a pg_dump of the server's major version on the worker, or set BACKUP_DEFINITIONS=auto.",
    });
  if (program === undefined || reason !== undefined) return { leftOut: [without(reason ?? '')] };

  const closed = await listClosedSchemas(session);
  const own = Object.values<string>(OWN_SCHEMAS);
  const definitions = dumpDefinitions({
    url: repository.url.reveal(),
    major: program.major,
    applicationName: `${applicationName} definitions`,
    snapshot: snapshot.exportedName,
    exclude: [...new Set([...own, ...closed])],
    limited: await limitsStatements(session),
    signal,
  });
  return {
    definitions,
    leftOut: closed
      .filter((schema) => !own.includes(schema))
      .map((schema) => ({
        what: `definitions of the schema ${schema}`,
        why: 'the role may not read all of its tables',
      })),
  };
}

function without(reason: string): LeftOut {
  return { what: 'definitions', why: `tables, indexes and functions are not included: ${reason}` };
}
