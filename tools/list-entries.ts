import { openArchive } from '#archive';
import type { ObjectStore } from '#storage';

/** The entries of an archive by its manifest, a line each: name, rows, bytes. */
export async function listEntries(store: ObjectStore, url: string): Promise<string[]> {
  const key = decodeURIComponent(url.slice(store.url('').length));
  const object = await store.open(key, new AbortController().signal);
  if (object === undefined) throw new Error(`There is no object ${key}`);
  const { manifest } = await openArchive(object);
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
