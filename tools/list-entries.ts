import { openArchive } from '#archive';
import type { ObjectStore } from '#storage';

/** The entries of an archive by its manifest, a line each: name, rows, bytes. */
export async function listEntries(store: ObjectStore, url: string): Promise<string[]> {
  const key = decodeURIComponent(url.slice(store.url('').length));
  const { signal } = new AbortController();
  const length = (await store.length(key, signal)) ?? 0;
  const { manifest } = await openArchive({
    length,
    read: (start, end) => store.read(key, start, end, signal),
  });
  const entries = manifest.tables.flatMap(({ entries }) => entries);
  const width = Math.max(...entries.map(({ name }) => name.length));
  return [
    ...entries.map(
      ({ name, rows, length }) =>
        `${name.padEnd(width)} ${String(rows).padStart(6)} rows ${String(length).padStart(8)} bytes`,
    ),
    'manifest.json',
  ];
}
