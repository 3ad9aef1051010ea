import { dropTemporaryDatabase } from '#postgres';
import { build, expectNewEnough } from './build.js';
import type { BuildRequest } from './build-request.js';
import { withConstruction } from './construction.js';
import { tryProperties } from './finish.js';
import { NotProven, shortened } from './not-proven.js';
import { missingRoles } from './roles.js';
import { selectStatements } from './select-statements.js';
import { readScript } from './script.js';
import { settleEarlierRecovers } from './takeover.js';

export interface DrillResult {
  /** Things that a recover could not keep exactly, each with the reason, for people. */
  losses: string[];
  /** Things that the drill could not try, because its role may not create them or because roles are missing. */
  notProven: string[];
}

/**
 * Recovers an archive into a scratch database, compares it with the archive, and drops it. Definitions that the role may
 * not create are not proven, and neither is what needs them.
 * @throws Failure that a recover would have; the signal's reason
 */
export async function drill(request: BuildRequest): Promise<DrillResult> {
  const { archive, journal, daemonId } = request;
  const { manifest } = archive;
  const script = await readScript(archive);
  return withConstruction(request, async (construction) => {
    const { maintenance, progress } = construction;
    await settleEarlierRecovers(maintenance, journal, daemonId, undefined);
    if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
    await expectNewEnough(maintenance, manifest);
    const missing = await missingRoles(maintenance, manifest, script);
    const statements = selectStatements(script, { missing });
    const notProven = new NotProven();
    if (missing.length > 0) notProven.add(`owners and rights of missing roles (${missing.join(', ')})`);
    const { name, losses } = await build(construction, request, script, statements, notProven);
    for (const property of await tryProperties(maintenance, name, manifest)) notProven.add(property);
    progress.allRows('Dropping the scratch database');
    if (!(await dropTemporaryDatabase(maintenance, name)))
      losses.push(
        `the scratch database ${name} (it is left on the server, because its owner or its comment was changed)`,
      );
    return { losses: shortened(losses), notProven: notProven.list() };
  });
}
