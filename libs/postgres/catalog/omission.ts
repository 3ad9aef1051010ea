import type { Relation } from '../connection/identifiers.js';

/** An object in the repository that a backup does not hold. */
export interface Omission {
  what: string;
  why: string;
  /** The tables that it is a part of: a restore of them lacks it. */
  of?: Relation[];
}
