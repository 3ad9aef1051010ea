import {
  type ArchiveWriter,
  type EntryWriter,
  LARGE_OBJECTS_NAME,
  largeObjectsEntryName,
  type ManifestEntry,
  type ManifestFacts,
} from '#archive';
import {
  CHUNK_BYTES,
  contentsOf,
  copyQueryOut,
  type CopyQuery,
  countLargeObjects,
  encodingOfNames,
  LARGE_OBJECTS_QUERY,
  type LargeObjects,
  type Omission,
  planLargeObjects,
  type Session,
  type Snapshot,
} from '#postgres';
import type { RowProgress } from '../shared/row-progress.js';
import type { BackupRequest } from './backup-request.js';
import type { CopyTask } from './copy-tables.js';

/** Copies the large objects of a snapshot into an archive, beside the tables. */
export class LargeObjectCopy {
  private readonly entries: ManifestEntry[][] = [];
  private metadata: ManifestEntry | undefined;

  private constructor(
    private readonly found: LargeObjects | undefined,
    private readonly chunkBytes: number,
    readonly omissions: Omission[],
  ) {}

  /** @throws Failure DATABASE_PERMISSION_DENIED if the role may not read all of them */
  static async plan(
    session: Session,
    { excludeLargeObjects, chunkBytes = CHUNK_BYTES }: BackupRequest,
  ): Promise<LargeObjectCopy> {
    if (!excludeLargeObjects)
      return new LargeObjectCopy(await planLargeObjects(session, chunkBytes), chunkBytes, []);
    const count = await countLargeObjects(session);
    const omission: Omission = {
      kind: 'largeObject',
      count,
      what: count === 1 ? '1 large object' : `${count} large objects`,
      why: 'EXCLUDE_LARGE_OBJECTS is set',
    };
    return new LargeObjectCopy(undefined, chunkBytes, count > 0 ? [omission] : []);
  }

  /** The bytes of all objects. */
  get bytes(): number {
    return this.found?.bytes ?? 0;
  }

  /** The number of ranges, each of which is a task. */
  get ranges(): number {
    return this.found?.ranges.length ?? 0;
  }

  /** The tasks of the sessions: one for each range, and a last one that lists the objects. */
  tasks({ serverEncoding }: Snapshot, writer: ArchiveWriter, progress: RowProgress): CopyTask[] {
    if (this.found === undefined || this.found.objects === 0) return [];
    const { ranges, objects } = this.found;
    let [startedRanges, startedEntries] = [0, 0];
    const contents = ranges.map((range, index): CopyTask => async (session) => {
      progress.say(`Copying ${objects} large objects (part ${++startedRanges} of ${ranges.length})`);
      const nextName = () => largeObjectsEntryName(++startedEntries);
      const query = contentsOf(range, this.chunkBytes);
      this.entries[index] = await copyEntries(session, query, serverEncoding, writer, nextName);
    });
    return [
      ...contents,
      async (session) => {
        const encoding = encodingOfNames(serverEncoding);
        const nextName = () => LARGE_OBJECTS_NAME;
        [this.metadata] = await copyEntries(session, LARGE_OBJECTS_QUERY, encoding, writer, nextName);
      },
    ];
  }

  /** The copied objects for the manifest. Call it when all tasks are done. */
  copied(): Pick<ManifestFacts, 'largeObjects'> {
    const { found, metadata, entries } = this;
    if (found === undefined) return {};
    const listed = metadata !== undefined && { metadata: { ...metadata, name: LARGE_OBJECTS_NAME } as const };
    return { largeObjects: { ...listed, entries: entries.flat(), bytes: found.bytes } };
  }
}

/** Copies the rows of a query into one or more entries. */
async function copyEntries(
  session: Session,
  query: CopyQuery,
  encoding: string,
  writer: ArchiveWriter,
  nextName: () => string,
): Promise<ManifestEntry[]> {
  const entries: ManifestEntry[] = [];
  let open: EntryWriter | undefined;
  const end = (rows: number) => {
    entries.push({ ...(open ?? writer.entry(nextName())).end(), rows });
    open = undefined;
    return writer.room();
  };
  try {
    await copyQueryOut(session, query, encoding, {
      write: (bytes) => (open ??= writer.entry(nextName())).write(bytes),
      endEntry: end,
      end,
    });
    return entries;
  } catch (error) {
    open?.fail(error);
    throw error;
  }
}
