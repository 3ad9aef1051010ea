import type { OmissionKind } from '#common';
import type { Relation } from '../connection/identifiers.js';

/** Contents of the repository that a backup does not hold. */
export interface Omission {
  kind: OmissionKind;
  /** The number of things of that kind, such as 5 for the rows of 5 foreign tables. */
  count: number;
  what: string;
  why: string;
  /** The tables that it is a part of: a restore of them lacks it. */
  of?: Relation[];
}
