import { StringDecoder } from 'node:string_decoder';

/**
 * Reads CSV as COPY writes it, without the header line. Bytes that are not UTF-8 become U+FFFD.
 * @returns the fields of each row; null for NULL
 */
export async function* csvRows(csv: AsyncIterable<Buffer>): AsyncGenerator<(string | null)[]> {
  const decoder = new StringDecoder('utf8');
  let text = '';
  let isHeader = true;
  for await (const bytes of csv) {
    text += decoder.write(bytes);
    let at = 0;
    for (let end; (end = rowEnd(text, at)) >= 0; at = end + 1) {
      if (!isHeader) yield fieldsOf(text.slice(at, end));
      isHeader = false;
    }
    text = text.slice(at);
  }
  if (text + decoder.end() !== '') yield fieldsOf(text);
}

/** Returns the position of the line break that ends a row, which is outside quotes; -1 if it has not arrived. */
function rowEnd(text: string, start: number): number {
  for (let from = start; ;) {
    const end = text.indexOf('\n', from);
    if (end < 0) return -1;
    const quote = text.slice(from, end).indexOf('"');
    if (quote < 0) return end;
    // A doubled quote ends a quoted part and begins another one.
    const closing = text.indexOf('"', from + quote + 1);
    if (closing < 0) return -1;
    from = closing + 1;
  }
}

function fieldsOf(row: string): (string | null)[] {
  return [...row.matchAll(/(?:"((?:[^"]|"")*)"|([^,]*))(,|$)/g)]
    .filter(({ index }, number) => number === 0 || row[index - 1] === ',')
    .map(([, quoted, bare = '']) => quoted?.replaceAll('""', '"') ?? (bare === '' ? null : bare));
}
