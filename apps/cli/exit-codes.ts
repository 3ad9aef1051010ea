import { type ErrorCode, Failure } from '#common';

const REFUSED = 1;

/** For scripts: these stay as they are. What is not listed is 1. */
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
  0    done
  1    the daemon has FAILED, or the server or this machine refused
  2    the command is not written as it must be
  3    no session, or not allowed
  4    the server cannot be reached, or has failed itself
  5    there is no such daemon, archive or schedule
  130  interrupted by Ctrl-C`;

export function exitCodeOf(error: unknown): number {
  return (error instanceof Failure ? EXIT_CODES[error.code] : undefined) ?? REFUSED;
}
