import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { Failure, Semaphore, summarizeOmissions } from '#common';
import { findManifest, type ManifestSummary } from '#archive';
import { type ArchiveFacts, type ArchiveVerification } from '#contracts';
import { Keys } from '#keys';
import {
  isRecordOf,
  levelReached,
  readVerification,
  verificationKey,
  type VerificationRecord,
} from '#engine';
import { type ListedObject, ObjectStore } from '#storage';

/** The number of archives that all requests together read in parallel. */
const AT_ONCE = 8;
/** Longer manifests take much memory and are read one at a time. Bytes. */
const LONG_MANIFEST = 1024 * 1024;
/** Cached archives, a few hundred bytes each: more than any page has. */
const CACHED = 2_000;
/** Warnings of one archive in a list, and the characters of each. */
const [LISTED_WARNINGS, LISTED_CHARACTERS] = [5, 500];

export const NEVER_VERIFIED: ArchiveVerification = {
  verifiedOn: null,
  verifiedBy: null,
  restorable: null,
  verification: null,
};

/** Reads facts of archives from the bucket, and caches them by ETag. */
@Injectable()
export class ArchiveReader {
  private readonly facts = new LRUCache<string, ArchiveFacts>({ max: CACHED });
  private readonly records = new LRUCache<string, { record: VerificationRecord | undefined }>({
    max: CACHED,
  });
  private readonly slots = new Semaphore(AT_ONCE);
  private readonly longSlot = new Semaphore(1);

  constructor(
    private readonly store: ObjectStore,
    private readonly keys: Keys,
  ) {}

  /** The facts of an archive; its problem if it cannot be read. @throws the signal's reason */
  async factsOf(object: ListedObject, signal: AbortSignal): Promise<ArchiveFacts> {
    const known = this.facts.get(version(object));
    if (known !== undefined) return known;
    try {
      const facts = factsOf(await this.summary(object, signal));
      this.facts.set(version(object), facts);
      return facts;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Failure)) throw error;
      const facts = withProblem(error.sentence);
      // Failures of the store may pass, so they are not cached.
      if (error.code === 'ARCHIVE_INVALID') this.facts.set(version(object), facts);
      return facts;
    }
  }

  /** The last verification of an archive, from the record beside it. @throws Failure STORE_*; the signal's reason */
  async verificationBeside(archive: ListedObject, signal: AbortSignal): Promise<ArchiveVerification> {
    const record = await this.store.find(verificationKey(archive.key), signal);
    return record === undefined ? NEVER_VERIFIED : this.verification(archive, record, signal);
  }

  /**
   * The last verification of an archive, from this record. A record counts only if a worker has written it for this object.
   * @throws Failure STORE_*; the signal's reason
   */
  async verification(
    archive: ListedObject,
    beside: ListedObject,
    signal: AbortSignal,
  ): Promise<ArchiveVerification> {
    const record = await this.record(beside, signal);
    return record !== undefined && isRecordOf(record, archive) ? verificationOf(record) : NEVER_VERIFIED;
  }

  private async record(object: ListedObject, signal: AbortSignal): Promise<VerificationRecord | undefined> {
    const known = this.records.get(version(object));
    if (known !== undefined) return known.record;
    const record = await within(this.slots, () => readVerification(this.store, this.keys, object, signal));
    this.records.set(version(object), { record });
    return record;
  }

  /** @throws Failure ARCHIVE_INVALID, STORE_*; the signal's reason */
  async summary(object: ListedObject, signal: AbortSignal): Promise<ManifestSummary> {
    return within(this.slots, async () => {
      signal.throwIfAborted();
      const manifest = await findManifest(this.store.openListed(object, signal));
      if (manifest.length <= LONG_MANIFEST) return manifest.read();
      return within(this.longSlot, () => manifest.read());
    });
  }
}

export function factsOf(summary: ManifestSummary): ArchiveFacts {
  const { takenAt, totals, daemonId, formatVersion, leftOut, warnings = [] } = summary;
  return {
    takenOn: Date.parse(takenAt),
    entities: totals.entities,
    daemonId,
    formatVersion,
    omissions: summarizeOmissions(leftOut),
    warnings: warnings.slice(0, LISTED_WARNINGS).map((warning) => warning.slice(0, LISTED_CHARACTERS)),
    problem: null,
  };
}

export function withProblem(problem: string): ArchiveFacts {
  return {
    takenOn: null,
    entities: null,
    daemonId: null,
    formatVersion: null,
    omissions: null,
    warnings: null,
    problem,
  };
}

function verificationOf(record: VerificationRecord): ArchiveVerification {
  const { verifiedAt, level, restorable, durationMs = null, proven = [], notProven = [] } = record;
  return {
    verifiedOn: Date.parse(verifiedAt),
    verifiedBy: level === 'DRILL' ? 'RESTORE_DRILL' : 'READ',
    restorable,
    verification: { level, durationMs, proven, notProven, reached: levelReached(record) ?? null },
  };
}

function version({ key, etag, bytes, modifiedOn }: ListedObject): string {
  return JSON.stringify([key, etag, bytes, modifiedOn]);
}

async function within<Result>(slots: Semaphore, work: () => Promise<Result>): Promise<Result> {
  await slots.acquire();
  try {
    return await work();
  } finally {
    slots.release();
  }
}
