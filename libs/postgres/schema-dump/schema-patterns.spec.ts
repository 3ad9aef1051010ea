import { schemaPatterns } from './schema-patterns.js';

test('one prefix stands for schemas that have it and share it with no other', () => {
  const tenants = Array.from({ length: 20_000 }, (_, number) => `tenant_${number}`);
  expect(schemaPatterns(tenants, ['app', 'pg_catalog', 'tenants', ...tenants])).toEqual(['"tenant_"*']);
  expect(
    schemaPatterns(
      ['tenant_1', 'tenant_11', 'tenant_12'],
      ['tenant_1', 'tenant_11', 'tenant_12', 'tenant_2'],
    ),
  ).toEqual(['"tenant_1"*']);
});

test('an open schema among them splits the prefix', () => {
  const all = ['a', 'ab', 'abc', 'abd', 'b"1', 'b"2', 'c😀', 'c😁', 'd'];
  const closed = ['ab', 'abd', 'b"1', 'b"2', 'c😀'];
  expect(schemaPatterns(closed, all)).toEqual(['"ab"', '"abd"', '"b"*', '"c😀"']);
  expect(schemaPatterns(['a', 'ab', 'abc', 'abd'], all)).toEqual(['"a"*']);
  expect(schemaPatterns([], all)).toEqual([]);
  expect(schemaPatterns(['x', 'y'], [])).toEqual(['"x"', '"y"']);
});
