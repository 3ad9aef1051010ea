import { formatFields, formatTable, formatTime, printable } from './format.js';

test('formats times with the offset from UTC', () => {
  const offset = jest.spyOn(Date.prototype, 'getTimezoneOffset');
  for (const [minutes, text] of [
    [0, '+00:00'],
    [-330, '+05:30'],
    [210, '-03:30'],
  ] as const) {
    offset.mockReturnValue(minutes);
    expect(formatTime(Date.now())).toMatch(/^20[\d-]{8} [\d:]{8} [-+]\d\d:\d\d$/);
    expect(formatTime(Date.now()).slice(20)).toBe(text);
  }
  offset.mockRestore();
});

test('aligns the columns of a table, numbers to the right', () => {
  expect(
    formatTable(
      ['NAME', 'ENTITIES'],
      [
        ['a.zip', 1_234_567],
        ['longer.zip', '-'],
      ],
    ),
  ).toBe(['NAME         ENTITIES', 'a.zip       1,234,567', 'longer.zip          -'].join('\n'));
});

test('omits fields without a value', () => {
  expect(
    formatFields([
      ['id', '7'],
      ['error', null],
      ['status', 'FAILED'],
    ]),
  ).toBe('id      7\nstatus  FAILED');
});

test('removes control characters and line breaks from foreign text', () => {
  expect(printable('table\x1b[2J\x9b1m\u202ename \r\n two')).toBe('table\ufffd[2J\ufffd1m\ufffdname two');
});
