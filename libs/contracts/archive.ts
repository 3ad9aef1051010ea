/** What a list says of an archive's content. Times are milliseconds since 1970. */
export interface ArchiveFacts {
  /** The instant that it shows. */
  takenOn: number | null;
  entities: number | null;
  daemonId: string | null;
  formatVersion: number | null;
  /** Why the others are null. */
  problem: string | null;
}

/** How an archive was verified last. */
export interface ArchiveVerification {
  verifiedOn: number | null;
  verifiedBy: 'READ' | 'RESTORE_DRILL' | null;
  restorable: boolean | null;
}

/** An archive as a list shows it. */
export interface Archive extends ArchiveFacts, ArchiveVerification {
  /** What a restore takes, and the calls for one archive. */
  name: string;
  url: string;
  /** When the object was written. */
  createdOn: number;
  bytes: number;
}
