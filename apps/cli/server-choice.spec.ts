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

test('the option goes before the environment, and that before the last login', () => {
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

test("the environment's token never goes to a server only because somebody logged in there", () => {
  const withToken = { ...environment, token: 'snapshotd_key' };
  expect(chooseServer(undefined, withToken, sessions)).toMatchObject({
    url: 'http://127.0.0.1:8080',
    token: 'snapshotd_key',
  });
  expect(chooseServer('https://one.example.org', withToken, sessions)).toMatchObject({
    token: 'snapshotd_key',
  });
});

test('what is no address, or no token, is refused without showing a token', () => {
  for (const text of ['backup.example.org', 'ftp://example.org', '', 'https://me:secret@example.org'])
    expect(() => serverUrl(text)).toThrow(/address/);
  expect(() => chooseServer(undefined, { ...environment, token: 'sec\nret' }, sessions)).toThrow(
    /^SNAPSHOTD_TOKEN holds no token\.$/,
  );
});

test('one server has one address, with the path that a proxy gave it', () => {
  expect(serverUrl('HTTPS://Example.org:443/backup//?x=1')).toBe('https://example.org/backup');
});

test('only what stays on this machine may go unencrypted without a word', () => {
  const clear = ['http://example.org', 'http://127.example.org', 'http://10.0.0.1:8080'];
  const fine = ['http://127.0.0.1:8080', 'http://[::1]:8080', 'http://localhost', 'https://example.org'];
  expect(clear.filter((url) => !isInTheClear(url))).toEqual([]);
  expect(fine.filter(isInTheClear)).toEqual([]);
});
