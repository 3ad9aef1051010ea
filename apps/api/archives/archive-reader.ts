import { Injectable } from '@nestjs/common';
import { Semaphore, Failure } from '#common';
import { findManifest, type ManifestSummary } from '#archive';
import { type ArchiveFacts, type ArchiveVerification } from '#contracts';
import { Keys } from '#keys';
import { isRecordOf, readVerification, verificationKey, type VerificationRecord } from '#engine';
import { type ListedObject, ObjectStore } from '#storage';
import { RecentlyUsed } from './recently-used.js';

/** Archives that are read at once, for all requests together. */
const AT_ONCE = 8;
/** A manifest that is longer takes much memory while it is read: one at a time. Bytes. */
const LONG_MANIFEST = 1024 * 1024;
/** Archives that are remembered: more than any page has, some hundred bytes each. */
const REMEMBERED = 2_000;

export const NEVER_VERIFIED: ArchiveVerification = { verifiedOn: null, verifiedBy: null, restorable: null };

/** Reads what archives are out of the bucket, and remembers it: objects of one ETag never change. */
@Injectable()
export class ArchiveReader {
  private readonly facts = new RecentlyUsed<ArchiveFacts>(REMEMBERED);
  private readonly records = new RecentlyUsed<{ record: VerificationRecord | undefined }>(REMEMBERED);
  private readonly slots = new Semaphore(AT_ONCE);
  private readonly longSlot = new Semaphore(1);

  constructor(
    private readonly store: ObjectStore,
    private readonly keys: Keys,
  ) {}

  /** What cannot be read has a problem. @throws the signal's reason */
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
      // What the store failed with may be over the next time.
      if (error.code === 'ARCHIVE_INVALID') this.facts.set(version(object), facts);
      return facts;
    }
  }

  /** How an archive was last verified, by the record beside it. @throws Failure STORE_*; the signal's reason */
  async verificationBeside(archive: ListedObject, signal: AbortSignal): Promise<ArchiveVerification> {
    const record = await this.store.find(verificationKey(archive.key), signal);
    return record === undefined ? NEVER_VERIFIED : this.verification(archive, record, signal);
  }

  /**
   * What a record says of an archive: nothing if no worker has written it, or of another object than this.
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

export function factsOf({ takenAt, totals, daemonId, formatVersion }: ManifestSummary): ArchiveFacts {
  return { takenOn: Date.parse(takenAt), entities: totals.entities, daemonId, formatVersion, problem: null };
}

export function withProblem(problem: string): ArchiveFacts {
  return { takenOn: null, entities: null, daemonId: null, formatVersion: null, problem };
}

function verificationOf({ verifiedAt, restoreDrill, restorable }: VerificationRecord): ArchiveVerification {
  return {
    verifiedOn: Date.parse(verifiedAt),
    verifiedBy: restoreDrill ? 'RESTORE_DRILL' : 'READ',
    restorable,
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
