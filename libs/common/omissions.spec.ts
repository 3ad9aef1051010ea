import { nameOmissions, totalOmissions } from './omissions.js';

test('omissions are named by kind and number', () => {
  expect(
    nameOmissions([
      { kind: 'foreignTableRows', count: 1 },
      { kind: 'schema', count: 1 },
      { kind: 'definitions', count: 1 },
      { kind: 'schema', count: 2 },
    ]),
  ).toBe('rows of 1 foreign table, 3 schemas, schema definitions');
});

test('omissions of older and newer archives, without a kind or of an unknown one, are counted', () => {
  const omissions = [{}, { kind: 'toString', count: 3 }, {}];
  expect(totalOmissions(omissions)).toEqual([
    { kind: 'other', count: 2 },
    { kind: 'toString', count: 3 },
  ]);
  expect(nameOmissions(omissions)).toBe('2 other things, 3 other things');
});
