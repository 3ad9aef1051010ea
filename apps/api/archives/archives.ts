import { ConflictException, Inject, Injectable, NotFoundException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import type { ManifestSummary } from '#archive';
import { SETTINGS, type Settings } from '#config';
import { Failure } from '#common';
import { type Archive, type ArchiveVerification } from '#contracts';
import { ScheduleArchive } from '#database';
import { DaemonReader } from '#queue';
import { deleteArchive, verificationKey } from '#engine';
import { archiveKey, type ListedObject, ObjectStore } from '#storage';
import { Repositories } from '../repositories/repositories.js';
import type { RepositoryFolders } from '../repositories/repository-folders.js';
import { ArchiveReader, factsOf, NEVER_VERIFIED, withProblem } from './archive-reader.js';
import { BucketListing } from './bucket-listing.js';
import type { ArchiveDetails } from './archives.docs.js';
import { inTime } from '../http/in-time.js';

const DOWNLOAD_SECONDS = 15 * 60;

/** The archives in the bucket below the prefix, those of other installations among them. */
@Injectable()
export class Archives {
  constructor(
    private readonly store: ObjectStore,
    private readonly listing: BucketListing,
    private readonly reader: ArchiveReader,
    private readonly daemons: DaemonReader,
    private readonly repositories: Repositories,
    @InjectRepository(ScheduleArchive) private readonly scheduled: Repository<ScheduleArchive>,
    @Inject(SETTINGS) private readonly settings: Settings,
  ) {}

  /**
   * A page of the archives, newest first.
   * @param repository the name of a repository; undefined for all. @throws Failure STORE_*
   */
  list(limit: number, offset: number, repository?: string): Promise<{ backups: Archive[]; total: number }> {
    return inTime(async (signal) => {
      const folders = await this.repositories.folders();
      const { archives: all, verifications } = await this.listing.read();
      const archives =
        repository === undefined ? all : all.filter(({ key }) => folders.repositoryOf(key) === repository);
      const page = archives.slice(offset, offset + limit);
      const backups = await Promise.all(
        page.map(async (object) => ({
          ...this.outside(object, folders),
          ...(await (this.canBeNamed(object)
            ? this.reader.factsOf(object, signal)
            : withProblem(
                'No restore accepts this name. Rename the object to letters, digits, _ . ( ) + - and .zip.',
              ))),
          ...(await this.listedVerification(object, verifications, signal)),
        })),
      );
      return { backups, total: archives.length };
    });
  }

  /** The archives that were written since a time, unordered. @throws Failure STORE_* */
  writtenSince(since: number, repository?: string): Promise<{ createdOn: number; bytes: number }[]> {
    return inTime(async () => {
      const folders = await this.repositories.folders();
      const { archives } = await this.listing.read();
      return archives
        .filter(({ modifiedOn }) => modifiedOn >= since)
        .filter(({ key }) => repository === undefined || folders.repositoryOf(key) === repository)
        .map(({ modifiedOn, bytes }) => ({ createdOn: modifiedOn, bytes }));
    });
  }

  /** @returns the name of the archive at a job's URL; undefined if it is not below the prefix */
  nameAt(url: string | null): string | undefined {
    const key = url === null ? undefined : this.keyOf(url);
    return key?.slice(this.settings.store.prefix.length);
  }

  /** @throws NotFoundException; Failure STORE_* */
  details(name: string): Promise<ArchiveDetails> {
    return inTime(async (signal) => {
      const object = await this.find(name, signal);
      const folders = await this.repositories.folders();
      const verification = await orNever(this.reader.verificationBeside(object, signal), signal);
      try {
        const summary = await this.reader.summary(object, signal);
        return { ...this.outside(object, folders), ...factsOf(summary), ...verification, ...inside(summary) };
      } catch (error) {
        if (!(error instanceof Failure) || error.code !== 'ARCHIVE_INVALID') throw error;
        return {
          ...this.outside(object, folders),
          ...withProblem(error.sentence),
          ...verification,
          ...NOTHING_INSIDE,
        };
      }
    });
  }

  /** A presigned address, valid for 15 minutes. @throws NotFoundException; Failure STORE_* */
  downloadUrl(name: string): Promise<string> {
    return inTime(async (signal) => {
      const object = await this.find(name, signal);
      return this.store.downloadUrl(object.key, DOWNLOAD_SECONDS);
    });
  }

  /** Deletes an archive, and its row in the archives of its schedule. @throws NotFoundException, ConflictException; Failure STORE_*; QueueUnavailable */
  delete(name: string): Promise<void> {
    return inTime(async (signal) => {
      const object = await this.find(name, signal);
      const readers = await this.daemons.readersOf(object.key);
      if (readers.length > 0)
        throw new ConflictException(
          `Job ${readers.slice(0, 10).join(', ')} needs the archive. Wait for its end, or terminate it.`,
        );
      await deleteArchive(this.store, object.key, signal);
      this.listing.forget(object.key);
      await this.scheduled.delete({ url: this.store.url(object.key) });
    });
  }

  /** Finds an archive without listing the bucket, so that credentials without s3:ListBucket suffice. */
  private async find(name: string, signal: AbortSignal): Promise<ListedObject> {
    const key = this.keyOf(name);
    const object = key === undefined ? undefined : await this.store.find(key, signal);
    if (object === undefined) throw new NotFoundException('There is no archive of this name.');
    return object;
  }

  /** @returns undefined if no archive below the prefix can have this name or URL */
  private keyOf(name: string): string | undefined {
    try {
      return archiveKey(name, this.settings.store);
    } catch (error) {
      if (error instanceof Failure && error.code === 'ARCHIVE_URL_REFUSED') return undefined;
      throw error;
    }
  }

  private async listedVerification(
    archive: ListedObject,
    verifications: Map<string, ListedObject>,
    signal: AbortSignal,
  ): Promise<ArchiveVerification> {
    const record = verifications.get(verificationKey(archive.key));
    return record === undefined
      ? NEVER_VERIFIED
      : orNever(this.reader.verification(archive, record, signal), signal);
  }

  private outside({ key, modifiedOn, bytes }: ListedObject, folders: RepositoryFolders) {
    return {
      name: this.nameOf(key),
      url: this.store.url(key),
      repository: folders.repositoryOf(key),
      createdOn: modifiedOn,
      bytes,
    };
  }

  private canBeNamed({ key }: ListedObject): boolean {
    return this.keyOf(this.nameOf(key)) === key;
  }

  private nameOf(key: string): string {
    return key.slice(this.settings.store.prefix.length);
  }
}

/** A record that cannot be read, such as one that is being replaced, counts as missing. @throws the signal's reason */
async function orNever(
  reading: Promise<ArchiveVerification>,
  signal: AbortSignal,
): Promise<ArchiveVerification> {
  try {
    return await reading;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof Failure)) throw error;
    return NEVER_VERIFIED;
  }
}

/** The fields that a list does not have, and all warnings. */
type Inside = Omit<ArchiveDetails, Exclude<keyof Archive, 'warnings'>>;

function inside(summary: ManifestSummary): Inside {
  const {
    product,
    server,
    schemas,
    tables,
    sequences,
    extensions,
    leftOut,
    warnings = [],
    definitions,
  } = summary;
  return {
    product,
    serverVersion: server.version,
    database: server.database,
    schemas,
    tables: tables.map(({ schema, name, rows, bytes }) => ({ schema, name, rows, bytes })),
    sequences,
    extensions,
    leftOut,
    warnings,
    definitions,
  };
}

const NOTHING_INSIDE: Inside = {
  product: null,
  serverVersion: null,
  database: null,
  schemas: null,
  tables: null,
  sequences: null,
  extensions: null,
  leftOut: null,
  warnings: null,
  definitions: null,
};
