import type { VerificationLevel } from '#contracts';

/** The sentences of a verification record. */
export interface Proof {
  proven: string[];
  notProven: string[];
}

const READ = 'Every byte of the archive matches its manifest, and its large objects are in order.';
const FIT = 'A restore in place would be accepted: tables, columns and rights fit.';
const DRILL =
  'A database was recovered from the archive alone, and compared with it: definitions, rows, keys and checks.';
const NO_FIT = 'The repository was not asked whether it would accept a restore: the level FIT asks.';
const NO_ROWS = 'No row was loaded: the level DRILL loads all of them.';

const PROOFS: Record<VerificationLevel, Proof> = {
  READ: { proven: [READ], notProven: [NO_FIT, NO_ROWS] },
  FIT: { proven: [READ, FIT], notProven: [NO_ROWS] },
  DRILL: { proven: [READ, DRILL], notProven: [NO_FIT] },
};

/** Says how much a passed verification proves. @param unproven the exceptions of this archive */
export function proofOf(level: VerificationLevel, unproven: string[]): Proof {
  const { proven, notProven } = PROOFS[level];
  return { proven: [...proven], notProven: [...notProven, ...unproven] };
}
