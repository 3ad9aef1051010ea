import { isMarked, keptName, markedComment, newMark, withoutMark } from './kept-name.js';

const AT = new Date('2026-11-28T19:05:12.345Z');

test.each([
  ['shop', 'shop_before_20261128_190512'],
  ['s'.repeat(63), `${'s'.repeat(40)}_before_20261128_190512`],
  // 21 characters of three bytes each are 63 bytes.
  ['店'.repeat(21), `${'店'.repeat(13)}_before_20261128_190512`],
  // A character of four bytes is two units in JavaScript.
  [`${'a'.repeat(38)}😀`, `${'a'.repeat(38)}_before_20261128_190512`],
])('the kept name of %s is %s', (live, name) => {
  expect(keptName(live, AT, new Set())).toBe(name);
  expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
});

test('a second swap within a second keeps another name, also of a long one', () => {
  const long = 's'.repeat(63);
  const first = keptName(long, AT, new Set());
  const second = keptName(long, AT, new Set([first]));
  expect(second).toBe(`${'s'.repeat(38)}_before_20261128_190512_2`);
});

test.each([[null], ["it's\ntwo lines"], ['Kept by snapshotd, I hope']])(
  'a comment survives its mark: %j',
  (comment) => {
    const mark = newMark(AT);
    const marked = markedComment(mark, comment);
    expect(isMarked(marked, mark)).toBe(true);
    expect(isMarked(marked, newMark(AT))).toBe(false);
    expect(withoutMark(marked)).toBe(comment);
    expect(withoutMark(comment)).toBe(comment);
  },
);
