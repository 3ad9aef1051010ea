import { Inject, Injectable } from '@nestjs/common';
import { SETTINGS, type Settings } from '#config';
import { type ArchiveListing, listArchives } from '#engine';
import { ObjectStore } from '#storage';
import { inTime } from '../http/in-time.js';

/** Listings of fewer objects take one call and are never reused, so that small buckets are shown as they are. */
const LARGE = 1_000;
/** The parts of a page begin within this time, and share one. */
const SAME_PAGE_MS = 20;
/** A large one is reused, and renewed in the background from this age on. */
const RENEWED_AFTER_MS = 2_000;
/** An older one is not reused. */
const MAX_AGE_MS = 10_000;

/**
 * Lists the bucket for all requests. S3 lists a thousand objects a call, so large buckets take longer than a page may:
 * requests share their listing, which may be ten seconds old.
 */
@Injectable()
export class BucketListing {
  private last: { listing: ArchiveListing; began: number } | undefined;
  private running: { began: number; listing: Promise<ArchiveListing> } | undefined;

  constructor(
    private readonly store: ObjectStore,
    @Inject(SETTINGS) private readonly settings: Settings,
  ) {}

  /** The archives, newest first, and their verification records. Do not change it. @throws Failure STORE_* */
  async read(): Promise<ArchiveListing> {
    const { last } = this;
    const age = last === undefined ? Infinity : performance.now() - last.began;
    if (last === undefined || !this.isLarge() || age > MAX_AGE_MS) return this.joined();
    // The next request reports a failure, when this listing is too old.
    if (age > RENEWED_AFTER_MS) void this.joined().catch(() => undefined);
    return last.listing;
  }

  /** Forgets an archive that was deleted. */
  forget(key: string): void {
    if (this.last === undefined) return;
    const { archives, verifications } = this.last.listing;
    this.last.listing = { archives: archives.filter((archive) => archive.key !== key), verifications };
  }

  private isLarge(): boolean {
    const { archives, verifications } = this.last?.listing ?? { archives: [], verifications: new Map() };
    return archives.length + verifications.size > LARGE;
  }

  /** The listing that runs, if the same page has begun it or the bucket is large; else another one. */
  private joined(): Promise<ArchiveListing> {
    const began = performance.now();
    const since = began - (this.running?.began ?? -Infinity);
    if (this.running !== undefined && (since < SAME_PAGE_MS || this.isLarge())) return this.running.listing;
    const listing = inTime((signal) => this.list(began, signal)).finally(() => {
      if (this.running?.began === began) this.running = undefined;
    });
    this.running = { began, listing };
    return listing;
  }

  private async list(began: number, signal: AbortSignal): Promise<ArchiveListing> {
    const listing = await listArchives(this.store, this.settings.store.prefix, signal);
    listing.archives.sort(
      (one, other) => other.modifiedOn - one.modifiedOn || (one.key < other.key ? 1 : -1),
    );
    this.last = { listing, began };
    return listing;
  }
}
