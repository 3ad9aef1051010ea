import { Secret } from '#config';
import { Keys } from '#keys';
import { higherLevel, isRecordOf, levelReached, verificationRecord } from './verification-record.js';

const keys = new Keys([new Secret('ab'.repeat(32))]);
const facts = {
  restorable: true,
  level: 'FIT' as const,
  daemonId: '1',
  verifiedAt: '2026-11-28T00:00:00.000Z',
};
const object = { key: 'a.zip', bytes: 7, etag: '"abc-2"', versionId: 'v1', modifiedOn: 1 };
const record = verificationRecord(keys, object, facts);

test.each([
  [true, 'the object that was read', {}],
  [true, 'its ETag without quotes', { etag: 'abc-2' }],
  [true, 'what a listing shows of it', { versionId: undefined }],
  [true, 'one that was touched', { modifiedOn: 2 }],
  [false, 'another ETag', { etag: '"abc-3"' }],
  [false, 'a weak ETag, which does not identify bytes', { etag: 'W/"abc-2"' }],
  [false, 'no ETag', { etag: undefined }],
  [false, 'another version', { versionId: 'v2' }],
  [false, 'no version', { versionId: null }],
  [false, 'another length', { bytes: 8 }],
  [false, 'another name', { key: 'b.zip' }],
])('a record counts (%p) for %s', (counts, _what, other) => {
  const { versionId, ...listed } = { ...object, ...other };
  expect(isRecordOf(record, versionId === undefined ? listed : { ...listed, versionId })).toBe(counts);
});

test.each([{ etag: undefined }, { etag: 'W/"abc-2"' }])(
  'a record of an object without a strong ETag counts for none: %p',
  (other) => {
    const one = { ...object, ...other };
    expect(isRecordOf(verificationRecord(keys, one, facts), one)).toBe(false);
  },
);

test('a failed verification has reached no level, whatever came before', () => {
  const drilled = { ...record, level: 'DRILL' as const };
  expect(levelReached(drilled)).toBe('DRILL');
  const failed = { ...drilled, restorable: false };
  expect(levelReached(failed)).toBeUndefined();
  expect(higherLevel(failed, 'READ')).toEqual({});
  const { daemonId, verifiedAt } = facts;
  expect(higherLevel(drilled, 'READ')).toEqual({ reached: { level: 'DRILL', daemonId, verifiedAt } });
});
