import { readArchiveSettings } from './archive-settings.js';
import { SettingsError } from './settings.js';

const KEY = 'ab'.repeat(32);

test('a program that only reads archives needs no other setting than the bucket', () => {
  const { store, secretKeys } = readArchiveSettings(undefined, { S3_BUCKET: 'archives', S3_ENDPOINT: '' });
  expect(store).toMatchObject({ bucket: 'archives', prefix: '', endpoint: undefined, forcePathStyle: false });
  expect(secretKeys).toBeUndefined();
});

test('a named bucket goes before S3_BUCKET, and all keys are known', () => {
  const env = { S3_BUCKET: 'archives', SECRET_KEY: KEY, SECRET_KEY_PREVIOUS: 'cd'.repeat(32) };
  const { store, secretKeys } = readArchiveSettings('others', env);
  expect(store.bucket).toBe('others');
  expect(secretKeys?.map((key) => key.reveal())).toEqual([KEY, 'cd'.repeat(32)]);
});

test('one message lists all faults', () => {
  const faults = (env: Record<string, string>) => {
    try {
      readArchiveSettings(undefined, env);
      return [];
    } catch (error) {
      return error instanceof SettingsError ? error.faults : [error];
    }
  };
  expect(faults({ SECRET_KEY: 'short', S3_ENDPOINT: 'nowhere' })).toEqual([
    'S3_BUCKET is missing: set the bucket for archives',
    expect.stringMatching(/^S3_ENDPOINT must be a URL/),
    expect.stringMatching(/^SECRET_KEY must be 32 random bytes/),
  ]);
});
