import type { Progress, StartedArchive } from '#contracts';
import { Secret } from '#config';
import { backup, type BackupRequest, type BackupResult, type Journal } from '#snapshot';
import type { ObjectStore } from '#storage';

/** A journal that lives in memory and remembers everything. */
export class MemoryJournal implements Journal {
  readonly lines: Progress[] = [];
  archives: StartedArchive[] = [];
  onReport: (progress: Progress) => void = () => {};

  readonly report = (progress: Progress) => {
    this.lines.push(progress);
    this.onReport(progress);
  };

  async recordArchive(archive: StartedArchive): Promise<void> {
    this.archives = [...this.archives.filter(({ key }) => key !== archive.key), archive];
  }

  get messages(): string[] {
    return this.lines.map(({ message }) => message);
  }
}

/** Runs the heart alone: no API, no queue. */
export function runBackup(
  store: ObjectStore,
  url: string,
  schemas: string[],
  more: Partial<BackupRequest> = {},
): Promise<BackupResult> {
  return backup({
    daemonId: '1',
    version: '0.0.0',
    repository: { url: new Secret(url), schemas },
    store,
    keyPrefix: '',
    compressionLevel: 1,
    journal: new MemoryJournal(),
    signal: new AbortController().signal,
    ...more,
  });
}
