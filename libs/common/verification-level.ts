import {
  type AfterBackup,
  type AfterBackupWord,
  type RecoverStep,
  VERIFICATION_LEVELS,
  type VerificationLevel,
} from '#contracts';

/** Whether a level includes the wanted one. */
export function reaches(level: VerificationLevel | null | undefined, wanted: VerificationLevel): boolean {
  if (level === null || level === undefined) return false;
  return VERIFICATION_LEVELS.indexOf(level) >= VERIFICATION_LEVELS.indexOf(wanted);
}

/**
 * The level that a request or a job asks for. `restoreDrill` is the older word for DRILL; without any of them it is FIT.
 */
export function levelOf({
  level,
  restoreDrill,
}: {
  level?: VerificationLevel | undefined;
  restoreDrill?: boolean | undefined;
}): VerificationLevel {
  return level ?? (restoreDrill === true ? 'DRILL' : 'FIT');
}

/** Replaces the words of 0.1.0 for the step after a scheduled backup. */
export function afterBackupOf(word: AfterBackupWord): AfterBackup {
  return word === 'verify' ? 'FIT' : word === 'restoreDrill' ? 'DRILL' : word;
}

/** What a schedule does after its backup, for people. */
export function thenText(then: AfterBackup | RecoverStep): string {
  return typeof then === 'string' ? then : `recover into ${then.recoverInto}`;
}
