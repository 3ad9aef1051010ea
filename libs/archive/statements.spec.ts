import { manifestFacts } from '../../test/support/manifest-facts.js';
import { createManifest, parseManifest } from './index.js';

const checksums = { crc32: '0'.repeat(8), sha256: '0'.repeat(64) };
const statement = { kind: 'TABLE', schema: 's', name: 't', class: 1259, oid: 16384 };

function manifestWith(definitions: object): string {
  return JSON.stringify({ ...createManifest(manifestFacts()), definitions });
}
const of = (statements: unknown[], more = {}) =>
  manifestWith({ name: 'schema.sql', length: 100, ...checksums, statements, ...more });

test('statements side by side are read', () => {
  const statements = [
    { ...statement, offset: 10, length: 20 },
    { ...statement, schema: null, kind: 'SET', name: '', class: 0, oid: 0, offset: 30, length: 70 },
  ];
  expect(parseManifest(of(statements, { beforeRows: 2 })).definitions).toMatchObject({ statements });
  expect(parseManifest(manifestWith({ name: 'schema.sql', length: 100, ...checksums }))).toBeDefined();
});

test.each<[string, object[], RegExp]>([
  [
    'that overlap',
    [
      { offset: 0, length: 20 },
      { offset: 19, length: 2 },
    ],
    /definitions\.statements: a statement overlaps/,
  ],
  [
    'in another order',
    [
      { offset: 20, length: 20 },
      { offset: 0, length: 2 },
    ],
    /a statement overlaps/,
  ],
  ['beyond the end', [{ offset: 90, length: 11 }], /a statement overlaps/],
  ['without a length', [{ offset: 90, length: 0 }], /definitions\.statements\.0\.length/],
  ['of a number that is no OID', [{ offset: 0, length: 1, oid: 2 ** 32 }], /statements\.0\.oid/],
  ['of a kind that is none', [{ offset: 0, length: 1, kind: 'TABLE; DROP' }], /statements\.0\.kind/],
])('statements %s are refused', (_, places, reason) => {
  const statements = places.map((place) => ({ ...statement, ...place }));
  expect(() => parseManifest(of(statements))).toThrow(reason);
});

test('more statements before the rows than there are are refused', () => {
  expect(() => parseManifest(of([{ ...statement, offset: 0, length: 1 }], { beforeRows: 2 }))).toThrow(
    /beforeRows counts more statements/,
  );
});
