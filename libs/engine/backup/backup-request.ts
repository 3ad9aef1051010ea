import type { Manifest } from '#archive';
import type { JobRequest } from '../shared/job-request.js';
import type { SchemaDefinitionsMode } from './schema-definitions.js';

export interface BackupRequest extends JobRequest {
  /** What the archive's key begins with, such as "backups/"; may be empty. */
  keyPrefix: string;
  /** zlib's, from 0 to 9. */
  compressionLevel: number;
  /** Sessions that read at once, at most. */
  parallelJobs: number;
  /** Bytes of what a range of blocks, or an entry, holds; only a test needs another number than the usual one. */
  chunkBytes?: number;
  definitions: SchemaDefinitionsMode;
  /** Takes on work that goes on after the backup has failed; told what it is, and to be told how it ended. */
  finishLater: (what: string, work: Promise<void>) => void;
}

export interface BackupResult {
  key: string;
  /** What an archive cannot hold and this repository has, by name. */
  leftOut: string[];
  /** What would hinder a restore, in sentences. */
  warnings: string[];
  entities: number;
  /** The archive's length. */
  bytes: number;
}

/** The part of a result that the manifest tells. */
export function resultOf({
  totals,
  leftOut,
  warnings = [],
}: Manifest): Pick<BackupResult, 'entities' | 'leftOut' | 'warnings'> {
  return { entities: totals.entities, leftOut: leftOut.map(({ what }) => what), warnings };
}
