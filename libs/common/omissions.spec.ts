import { nameOmissions, summarizeOmissions } from './omissions.js';

test('omissions are summarized and named by kind', () => {
  const summary = summarizeOmissions([
    { kind: 'foreignTableRows', count: 1, what: 'rows of s.f', why: 'elsewhere' },
    { kind: 'schema', count: 1, what: 'the schema a', why: 'not listed' },
    { kind: 'definitions', count: 1, what: 'definitions', why: 'off' },
    { kind: 'schema', count: 2, what: '2 more schemas', why: 'not listed' },
  ]);
  expect(summary).toEqual([
    { kind: 'foreignTableRows', count: 1, what: 'rows of s.f', why: 'elsewhere' },
    { kind: 'schema', count: 3, what: 'the schema a, 2 more schemas', why: 'not listed' },
    { kind: 'definitions', count: 1, what: 'definitions', why: 'off' },
  ]);
  expect(nameOmissions(summary)).toBe('rows of 1 foreign table, 3 schemas, schema definitions');
});

test('omissions of older archives, without a kind, and of unknown kinds are other things', () => {
  const summary = summarizeOmissions([
    { what: 's.f', why: 'elsewhere' },
    { kind: 'toString', count: 3, what: '3 strings', why: 'new' },
  ]);
  expect(summary).toEqual([{ kind: 'other', count: 4, what: 's.f, 3 strings', why: 'elsewhere; new' }]);
  expect(nameOmissions(summary)).toBe('4 other things');
});

test('the summary of many omissions with long names is short', () => {
  const many = Array.from({ length: 100_000 }, (_, index) => ({
    kind: `kind ${index}`,
    what: `${index} ${'n'.repeat(1_000)}`,
    why: `${index} ${'w'.repeat(1_000)}`,
  }));
  const summary = summarizeOmissions(many);
  expect(JSON.stringify(summary).length).toBeLessThan(4_000);
  expect(summary).toEqual([
    expect.objectContaining({ count: 100_000, what: expect.stringMatching(/ and 99990 more$/) as string }),
  ]);
});
