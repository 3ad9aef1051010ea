import type { Manifest } from '#archive';
import type { DatabaseIdentity } from '#contracts';
import type { JobRequest } from '../shared/job-request.js';
import type { SchemaDefinitionsMode } from './schema-definitions.js';

export interface BackupRequest extends JobRequest {
  /** The beginning of the archive's key, such as "backups/"; may be empty. */
  keyPrefix: string;
  /** zlib's compression level, from 0 to 9. */
  compressionLevel: number;
  /** The most sessions that read at once. */
  parallelJobs: number;
  /** The size of a range of blocks, or of an entry: bytes. For tests. */
  chunkBytes?: number;
  definitions: SchemaDefinitionsMode;
  /** How long a backup waits for a lock on a table of the repository: milliseconds. */
  lockWaitMs: number;
  /** Omit large objects, and count them among the omissions. */
  excludeLargeObjects: boolean;
  /** Whether a backup fails if its archive would omit anything. */
  failOnOmissions?: boolean;
  /** The part of its rows that a table may lose before the backup warns: percent. Undefined compares nothing. */
  shrinkWarningPercent?: number;
  /** The key of the newest archive whose loss of rows somebody has confirmed. */
  confirmedKey?: string | undefined;
  /** Databases that were the repository before. */
  predecessors?: DatabaseIdentity[];
  /** Continues work after the backup has failed, and logs its outcome under this description. */
  finishLater: (description: string, work: Promise<void>) => void;
}

export interface BackupResult {
  key: string;
  /** Contents of the repository that the archive does not hold. */
  omissions: Manifest['leftOut'];
  /** Obstacles to a restore, in sentences. */
  warnings: string[];
  /** Rows that the archive lacks compared with an earlier one. */
  shrunk?: Manifest['shrunk'];
  entities: number;
  /** The archive's length. */
  bytes: number;
}

/** The fields of a result that follow from the manifest. */
export function resultOf({
  totals,
  leftOut,
  warnings = [],
  shrunk,
}: Manifest): Pick<BackupResult, 'entities' | 'omissions' | 'warnings' | 'shrunk'> {
  return { entities: totals.entities, omissions: leftOut, warnings, shrunk };
}
