import { Failure } from '#common';
import { archiveKey, isBelowPrefix } from './archive-address.js';

const ENDPOINT = 'https://s3.example.org';
const settings = (prefix: string) => ({
  bucket: 'archives',
  prefix,
  region: 'us-east-1',
  endpoint: ENDPOINT,
  publicEndpoint: undefined,
  forcePathStyle: true,
  maxParts: 10_000,
  partBytes: 8 * 1024 ** 2,
  checksums: 'when_required' as const,
  retryForMs: 0,
});
const at = (key: string) => `${ENDPOINT}/archives/${key}`;
const OWN = 'BackupDaemonJob1-107249060429899939.zip';

/** @returns the key, or why the address is refused */
function outcome(prefix: string, address: string): string {
  try {
    return archiveKey(address, settings(prefix));
  } catch (error) {
    if (error instanceof Failure && error.code === 'ARCHIVE_URL_REFUSED') return error.message;
    throw error;
  }
}

test.each([
  ['', OWN, OWN],
  ['', at('a/b.zip'), 'a/b.zip'],
  ['a/', 'x.zip', 'a/x.zip'],
  ['a/', at('a/x.zip'), 'a/x.zip'],
  ['a/', at('a%2Fb%2Fx%2Ezip'), 'a/b/x.zip'],
  ['a/', 'b/x.zip', 'a/b/x.zip'],
  ["a!('*=/", at("a!('*=/x.zip"), "a!('*=/x.zip"],
  ['nightly-', OWN, `nightly-${OWN}`],
  ['nightly-', at(`nightly-${OWN}`), `nightly-${OWN}`],
])('with S3_PREFIX=%s, %s means %s', (prefix, address, key) => {
  expect(outcome(prefix, address)).toBe(key);
});

test.each([
  ['a/', at('x.zip')],
  ['a/', at('b/x.zip')],
  ['a/', at('ab/x.zip')],
  ['a/', at(`a${OWN}`)],
  ['a/', at('A/x.zip')],
  ['a/b/', at('a/x.zip')],
  ['a/b/', at('a/bc/x.zip')],
])('with S3_PREFIX=%s, %s does not lie below it', (prefix, address) => {
  expect(outcome(prefix, address)).toBe(
    `The url is refused: it does not lie below S3_PREFIX, which is ${prefix}.`,
  );
});

test.each([
  ['a', 'x.zip'],
  ['a', `/${OWN}`],
  ['a', `b/${OWN}`],
  ['a', `b${OWN}`],
  ['a', at(`a/${OWN}`)],
  ['a', at(`ab/${OWN}`)],
  ['a', at(`ab${OWN}`)],
  ['a', at(OWN)],
  ['nightly-', at(`nightly-b-${OWN}`)],
  ['nightly-', at('nightly-monday.zip')],
])('with S3_PREFIX=%s, which is no folder, %s is refused', (prefix, address) => {
  expect(outcome(prefix, address)).toMatch(/^The url is refused: /);
});

test('no key belongs to two prefixes unless one is a folder around the other', () => {
  const prefixes = ['a', 'ab', 'a/', 'ab/', 'a-', 'a-BackupDaemonJob1-', 'aBackupDaemonJob1'];
  for (const prefix of prefixes) {
    expect(isBelowPrefix(prefix + OWN, { prefix })).toBe(true);
    for (const key of [OWN, 'x.zip', `/${OWN}`, `b/${OWN}`].map((name) => prefix + name))
      expect(prefixes.filter((each) => isBelowPrefix(key, { prefix: each })).length).toBeLessThanOrEqual(1);
  }
});

const MANY = ['', 'a/', 'nightly-'];

test.each(
  MANY.flatMap((prefix) =>
    [
      'a\n.zip',
      'a.zip\n',
      '\ta.zip',
      'b\x7f/a.zip',
      at(`${prefix}b\r\n/a.zip`),
      at(`${prefix}b%0A/a.zip`),
      at(`${prefix}b%C2%85/a.zip`),
      at(`${prefix}%00.zip`),
    ].map((address): [string, string] => [prefix, address]),
  ),
)('with S3_PREFIX=%j, control characters are refused: %j', (prefix, address) => {
  expect(outcome(prefix, address)).toBe('The url is refused: it holds a control character.');
});

test.each(
  MANY.flatMap((prefix) =>
    ['../x.zip', 'b/../x.zip', 'b//x.zip', './x.zip', '.b/x.zip', '.zip', '/x.zip', 'b/.zip']
      .flatMap((name) => [name, at(prefix + name), at(prefix + name.replaceAll('.', '%2e'))])
      .map((address): [string, string] => [prefix, address]),
  ),
)('with S3_PREFIX=%j, %s leads nowhere', (prefix, address) => {
  expect(outcome(prefix, address)).toMatch(/^The url is refused: /);
});

test('a key has up to 1,024 bytes, its prefix among them', () => {
  const longest = `${'a'.repeat(1_024 - 'a/.zip'.length)}.zip`;
  expect(outcome('a/', longest)).toBe(`a/${longest}`);
  expect(outcome('a/', at(`a/${longest}`))).toBe(`a/${longest}`);
  expect(outcome('a/', `a${longest}`)).toBe('The url is refused: its key has 1025 bytes, and S3 takes 1024.');
});
