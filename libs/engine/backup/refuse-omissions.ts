import type { Manifest } from '#archive';
import { Failure, nameOmissions, summarizeOmissions } from '#common';

/**
 * Fails the backup if its archive would omit anything and the settings forbid that.
 * @throws Failure OMISSIONS_REFUSED that names the omissions
 */
export function refuseOmissions(
  { failOnOmissions = false }: { failOnOmissions?: boolean },
  leftOut: Manifest['leftOut'],
): void {
  if (!failOnOmissions || leftOut.length === 0) return;
  const summary = summarizeOmissions(leftOut);
  const named = summary.map(({ what, why }) => `${what} (${why})`).join('; ');
  throw new Failure(
    'OMISSIONS_REFUSED',
    'permanent',
    `FAIL_ON_OMISSIONS is true, and the archive would omit ${nameOmissions(summary)}: ${named}.`,
    {
      hint: 'Remove the reasons, or set FAIL_ON_OMISSIONS=false on the workers for an archive that names its omissions.',
    },
  );
}
