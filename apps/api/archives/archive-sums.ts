import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { grouped } from '#common';
import type { VerificationLevel } from '#contracts';
import { ScheduleArchive } from '#database';
import { verificationKey } from '#engine';
import type { ListedObject } from '#storage';
import { inTime } from '../http/in-time.js';
import { Repositories } from '../repositories/repositories.js';
import { ArchiveReader } from './archive-reader.js';
import { BucketListing } from './bucket-listing.js';

/** Records that are read for one repository until one proves its archive. */
const MOST_RECORDS = 5;
const WEEK_MS = 7 * 24 * 60 * 60 * 1000;

/** The archives of a repository. Times are milliseconds since 1970. */
export interface RepositoryArchives {
  count: number;
  bytes: number;
  last: { writtenOn: number; bytes: number } | null;
  /** The size of the last archive beside the newest one that is a week older: 0.1 is a tenth more. Null without one. */
  growth: number | null;
  /** The newest archive that a verification has proven. */
  proven: { writtenOn: number; level: VerificationLevel } | null;
  /** Whether the newest verification found its archive not restorable. */
  refuted: boolean;
}

/** The archives of a schedule. */
export interface ScheduleStorage {
  count: number;
  bytes: number;
  lastBytes: number;
}

/** Sums the archives in the bucket by repository and by schedule. */
@Injectable()
export class ArchiveSums {
  constructor(
    private readonly listing: BucketListing,
    private readonly reader: ArchiveReader,
    private readonly repositories: Repositories,
    @InjectRepository(ScheduleArchive) private readonly scheduled: Repository<ScheduleArchive>,
  ) {}

  /** @returns by the repository's name. @throws Failure STORE_* */
  byRepository(): Promise<Map<string, RepositoryArchives>> {
    return inTime(async (signal) => {
      const folders = await this.repositories.folders();
      const { archives, verifications } = await this.listing.read();
      const groups = grouped(archives, ({ key }) => folders.repositoryOf(key));
      const sums = [...groups].map(async ([name, group]) => {
        const proof = await this.proof(group, verifications, signal);
        return [name, { ...sizesOf(group), ...proof }] as const;
      });
      return new Map(await Promise.all(sums));
    });
  }

  /** @returns the archives in the bucket by schedule; undefined stands for those of no schedule. @throws Failure STORE_* */
  bySchedule(): Promise<Map<string | undefined, ScheduleStorage>> {
    return inTime(async () => {
      const rows = await this.scheduled.find({ select: { key: true, schedule: true } });
      const scheduleOf = new Map(rows.map(({ key, schedule }) => [key, schedule]));
      const { archives } = await this.listing.read();
      const groups = grouped(archives, ({ key }) => scheduleOf.get(key));
      return new Map(
        [...groups].map(([schedule, group]) => {
          const { count, bytes, last } = sizesOf(group);
          return [schedule, { count, bytes, lastBytes: last?.bytes ?? 0 }];
        }),
      );
    });
  }

  private async proof(
    newestFirst: ListedObject[],
    verifications: Map<string, ListedObject>,
    signal: AbortSignal,
  ): Promise<Pick<RepositoryArchives, 'proven' | 'refuted'>> {
    let refuted: boolean | undefined;
    let read = 0;
    for (const archive of newestFirst) {
      const record = verifications.get(verificationKey(archive.key));
      if (record === undefined) continue;
      const { restorable, verification } = await this.reader.verification(archive, record, signal);
      refuted ??= restorable === false;
      if (restorable === true && verification !== null)
        return { proven: { writtenOn: archive.modifiedOn, level: verification.level }, refuted };
      if (++read === MOST_RECORDS) break;
    }
    return { proven: null, refuted: refuted ?? false };
  }
}

/** @param newestFirst not empty */
function sizesOf(
  newestFirst: ListedObject[],
): Pick<RepositoryArchives, 'count' | 'bytes' | 'last' | 'growth'> {
  const [last] = newestFirst;
  const before = newestFirst.find(({ modifiedOn }) => modifiedOn <= (last?.modifiedOn ?? 0) - WEEK_MS);
  return {
    count: newestFirst.length,
    bytes: newestFirst.reduce((sum, { bytes }) => sum + bytes, 0),
    last: last === undefined ? null : { writtenOn: last.modifiedOn, bytes: last.bytes },
    growth:
      last === undefined || before === undefined || before.bytes === 0 ? null : last.bytes / before.bytes - 1,
  };
}
