import { Failure } from '#common';
import { type DaemonType } from '#contracts';

const NAMES: Record<DaemonType, string> = { BACKUP: 'Backup', RESTORE: 'Restore', VERIFY: 'Verify' };

/** What errorMessage says of a daemon that somebody ended. */
export function terminationMessage(type: DaemonType): string {
  return `${NAMES[type]} terminated by the user`;
}

export function termination(type: DaemonType): Failure {
  return new Failure('TERMINATED', 'permanent', terminationMessage(type));
}
