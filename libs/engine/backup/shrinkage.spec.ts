import { type Baseline, rowsOfTables, shrinkageSince, shrinkageWarning } from './shrinkage.js';

const table = (name: string, rows: number, of?: string) => ({
  schema: 's',
  name,
  rows,
  partitionOf: of === undefined ? [] : [{ schema: 's', name: of }],
});
const since = (...tables: ReturnType<typeof table>[]): Baseline => ({
  archive: 'a.zip',
  takenAt: '2026-11-28T02:30:00.000Z',
  rows: rowsOfTables(tables),
});
/** Names the tables that have shrunk, and whether the whole has. */
function shrunk(before: ReturnType<typeof table>[], after: ReturnType<typeof table>[], percent = 50) {
  const found = shrinkageSince(since(...before), rowsOfTables(after), percent);
  return [...(found?.tables.map(({ name }) => name) ?? []), ...(found?.total ? ['*'] : [])];
}
const large = table('large', 1_000_000);

test.each([
  [1_000, 500, []],
  [1_000, 499, ['t']],
  [1_000, 0, ['t']],
  [999, 1, []],
  [999, 0, ['t']],
  [1, 0, ['t']],
  [0, 0, []],
  [1_000, 2_000, []],
])('a table of %d rows that has %d now: %j', (before, after, expected) => {
  expect(shrunk([large, table('t', before)], [large, table('t', after)])).toEqual(expected);
});

test('a dropped table has lost all rows, and a table that is new none', () => {
  expect(shrunk([large, table('t', 3), table('u', 0)], [large, table('v', 1)])).toEqual(['t']);
});

test('the whole counts like a table, with its own loss', () => {
  const before = Array.from({ length: 4 }, (_, index) => table(`t${index}`, 900));
  const after = before.map(({ name }) => table(name, 100));
  expect(shrunk(before, after)).toEqual(['*']);
  expect(shrunk(before, after, 89)).toEqual([]);
  expect(shrunk(before, [], 100)).toEqual([]);
  expect(shrunk([large], [table('large', 999_999)], 0)).toEqual(['large', '*']);
});

test('partitions count as one table: dropping an old one is no loss', () => {
  const days = (...names: string[]) => names.map((name) => table(name, 2_000, 'events'));
  expect(shrunk([large, ...days('d1', 'd2', 'd3')], [large, ...days('d2', 'd3', 'd4')])).toEqual([]);
  expect(shrunk([large, ...days('d1', 'd2', 'd3')], [large, ...days('d3')])).toEqual(['events']);
});

test('the warning names the largest losses first, and not all', () => {
  const found = shrinkageSince(
    since(...Array.from({ length: 8 }, (_, index) => table(`t${index}`, 1_000 + index))),
    new Map(),
    50,
  );
  expect(found && shrinkageWarning(found)).toBe(
    'Rows are missing since the archive a.zip of 2026-11-28T02:30:00.000Z: s.t7 (from 1,007 to 0 rows), s.t6 (from 1,006 to 0 rows), s.t5 (from 1,005 to 0 rows), s.t4 (from 1,004 to 0 rows), s.t3 (from 1,003 to 0 rows), 3 more tables, the whole repository (from 8,028 to 0 rows). Schedules delete no archives until you confirm the loss.',
  );
});

test('a hostile archive gives numbers that a manifest may hold', () => {
  const most = Number.MAX_SAFE_INTEGER;
  const found = shrinkageSince(
    since(table('__proto__', most), table('p', most, 'q'), table('r', most, 'q')),
    new Map(),
    50,
  );
  expect(found?.total?.before).toBe(most);
  expect(found?.tables.map(({ name, before }) => [name, before])).toEqual([
    ['__proto__', most],
    ['q', most],
  ]);
});
