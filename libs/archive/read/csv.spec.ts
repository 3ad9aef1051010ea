import { csvRows } from './csv.js';

async function rowsOf(csv: string, pieceBytes: number): Promise<(string | null)[][]> {
  const bytes = Buffer.from(csv);
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
  }
  const rows: (string | null)[][] = [];
  for await (const row of csvRows(pieces())) rows.push(row);
  return rows;
}

test.each([1, 2, 7, 1_000])(
  'CSV in pieces of %i bytes has the values that COPY wrote',
  async (pieceBytes) => {
    const csv = 'oid,owner,comment\n1,postgres,\n2,"a,""b""","größe\nnext"\n3,"",x\n4,,\n';
    expect(await rowsOf(csv, pieceBytes)).toEqual([
      ['1', 'postgres', null],
      ['2', 'a,"b"', 'größe\nnext'],
      ['3', '', 'x'],
      ['4', null, null],
    ]);
  },
);
