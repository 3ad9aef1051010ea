/** The content of an archive in a list. Times are milliseconds since 1970. */
export interface ArchiveFacts {
  /** The instant of the snapshot. */
  takenOn: number | null;
  entities: number | null;
  daemonId: string | null;
  formatVersion: number | null;
  /** Why the others are null. */
  problem: string | null;
}

/** The last verification of an archive. */
export interface ArchiveVerification {
  verifiedOn: number | null;
  verifiedBy: 'READ' | 'RESTORE_DRILL' | null;
  restorable: boolean | null;
}

/** An archive in a list. */
export interface Archive extends ArchiveFacts, ArchiveVerification {
  /** The name for restores and for the calls of one archive. */
  name: string;
  url: string;
  /** When the object was written. */
  createdOn: number;
  bytes: number;
}
