/** The things of one kind that an archive omits, for people and programs. */
export interface OmittedThings {
  /** Such as `foreignTableRows`; `other` if this version does not know the kind. */
  kind: string;
  /** The number of things. */
  count: number;
  /** Their names; of many, the first ones. */
  what: string;
  why: string;
}
