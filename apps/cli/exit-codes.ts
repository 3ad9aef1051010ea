import { type ErrorCode, Failure } from '#common';

const REFUSED = 1;
/** A dry run that was asked whether something would change. */
export const DIFFERENT = 6;

/** Exit codes for scripts: they never change. Every other error is 1. */
const EXIT_CODES: Partial<Record<ErrorCode, number>> = {
  USAGE_WRONG: 2,
  SESSION_MISSING: 3,
  CONNECTION_LOST: 4,
  SERVER_FAILED: 4,
  SERVER_UNREACHABLE: 4,
  NOT_FOUND: 5,
  INTERRUPTED: 130,
};

export const EXIT_CODES_HELP = `Exit codes:
  0    success
  1    the job FAILED, or the server or this machine refused the command
  2    wrong command, argument or option
  3    no session, or no permission
  4    the server cannot be reached, or failed
  5    no such job, archive, schedule or repository
  6    apply --dry-run --exit-code: something would change
  130  interrupted by Ctrl-C`;

export function exitCodeOf(error: unknown): number {
  return (error instanceof Failure ? EXIT_CODES[error.code] : undefined) ?? REFUSED;
}
