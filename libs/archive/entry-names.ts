export const MANIFEST_NAME = 'manifest.json';
/** What makes the tables anew, where the archive holds it. */
export const DEFINITIONS_NAME = 'schema.sql';

/**
 * The name of a chunk of a table's rows: `data/<schema>.<table>/000001.csv`. Letters and digits of any script,
 * `_` and `-` stay; everything else is percent-encoded, so that the dot in between is the only one.
 * @param chunk from 1
 */
export function dataEntryName({ schema, name }: { schema: string; name: string }, chunk: number): string {
  return `data/${encodeName(schema)}.${encodeName(name)}/${String(chunk).padStart(6, '0')}.csv`;
}

function encodeName(name: string): string {
  return name.replace(/[^\p{L}\p{N}_-]/gu, (character) =>
    [...Buffer.from(character)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
}
