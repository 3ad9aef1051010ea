import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chooseServer, isInTheClear, serverUrl } from './server-choice.js';
import { SessionFile } from './session-file.js';

const sessions = new SessionFile(mkdtempSync(join(tmpdir(), 'snapshotd-choice-')));
sessions.keep('https://one.example.org', { email: 'one@example.org', token: 'token-one' });
sessions.keep('https://two.example.org', { email: 'two@example.org', token: 'token-two' });
const environment = { url: undefined, token: undefined, configFolder: undefined };
const nobody = new SessionFile(undefined);

test('prefers --url to the environment, and the environment to the last login', () => {
  const choose = (option?: string, url?: string) => chooseServer(option, { ...environment, url }, sessions);
  expect(choose('https://one.example.org/', 'https://three.example.org')).toMatchObject({
    url: 'https://one.example.org',
    token: 'token-one',
  });
  expect(choose(undefined, 'https://three.example.org')).toMatchObject({
    url: 'https://three.example.org',
    token: undefined,
  });
  expect(choose()).toMatchObject({ url: 'https://two.example.org', email: 'two@example.org' });
  expect(chooseServer(undefined, environment, nobody).url).toBe('http://127.0.0.1:8080');
});

test("never sends the environment's token to the server of the last login by default", () => {
  const withToken = { ...environment, token: 'snapshotd_key' };
  expect(chooseServer(undefined, withToken, sessions)).toMatchObject({
    url: 'http://127.0.0.1:8080',
    token: 'snapshotd_key',
  });
  expect(chooseServer('https://one.example.org', withToken, sessions)).toMatchObject({
    token: 'snapshotd_key',
  });
});

test('rejects invalid addresses and tokens without showing a token', () => {
  for (const text of ['backup.example.org', 'ftp://example.org', '', 'https://me:secret@example.org'])
    expect(() => serverUrl(text)).toThrow(/address/);
  expect(() => chooseServer(undefined, { ...environment, token: 'sec\nret' }, sessions)).toThrow(
    /^SNAPSHOTD_TOKEN is not a valid token\.$/,
  );
});

test('normalizes an address and keeps its path', () => {
  expect(serverUrl('HTTPS://Example.org:443/backup//?x=1')).toBe('https://example.org/backup');
});

test('warns of unencrypted connections, except to this machine', () => {
  const clear = ['http://example.org', 'http://127.example.org', 'http://10.0.0.1:8080'];
  const fine = ['http://127.0.0.1:8080', 'http://[::1]:8080', 'http://localhost', 'https://example.org'];
  expect(clear.filter((url) => !isInTheClear(url))).toEqual([]);
  expect(fine.filter(isInTheClear)).toEqual([]);
});
