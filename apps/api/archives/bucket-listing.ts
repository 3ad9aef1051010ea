import { Inject, Injectable } from '@nestjs/common';
import { SETTINGS, type Settings } from '#config';
import { type ArchiveListing, listArchives } from '#engine';
import { ObjectStore } from '#storage';
import { inTime } from '../http/in-time.js';

/** A faster listing is never reused, so that small buckets are shown as they are. */
const QUICK_MS = 100;
/** A slower one is reused at once, and renewed in the background from this age on. */
const RENEWED_AFTER_MS = 2_000;
/** An older one is not reused. */
const MAX_AGE_MS = 10_000;

/**
 * Lists the bucket for all requests. S3 lists a thousand objects a call, so large buckets take longer than a page may:
 * requests share their listing, which may be ten seconds old.
 */
@Injectable()
export class BucketListing {
  private last: { listing: ArchiveListing; began: number; took: number } | undefined;
  private renewing: Promise<unknown> | undefined;

  constructor(
    private readonly store: ObjectStore,
    @Inject(SETTINGS) private readonly settings: Settings,
  ) {}

  /** The archives, newest first, and their verification records. Do not change it. @throws Failure STORE_* */
  async read(signal: AbortSignal): Promise<ArchiveListing> {
    const { last } = this;
    const age = last === undefined ? Infinity : performance.now() - last.began;
    if (last === undefined || last.took < QUICK_MS || age > MAX_AGE_MS) return this.list(signal);
    // The next request reports a failure, when this listing is too old.
    if (age > RENEWED_AFTER_MS)
      this.renewing ??= inTime((limit) => this.list(limit))
        .catch(() => undefined)
        .finally(() => (this.renewing = undefined));
    return last.listing;
  }

  /** Forgets an archive that was deleted. */
  forget(key: string): void {
    if (this.last === undefined) return;
    const { archives, verifications } = this.last.listing;
    this.last.listing = { archives: archives.filter((archive) => archive.key !== key), verifications };
  }

  private async list(signal: AbortSignal): Promise<ArchiveListing> {
    const began = performance.now();
    const listing = await listArchives(this.store, this.settings.store.prefix, signal);
    listing.archives.sort(
      (one, other) => other.modifiedOn - one.modifiedOn || (one.key < other.key ? 1 : -1),
    );
    this.last = { listing, began, took: performance.now() - began };
    return listing;
  }
}
