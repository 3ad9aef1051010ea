import { postgresUrl, targetOf } from './postgres-url.js';

const said = (text: string) => {
  const { data, error } = postgresUrl.safeParse(text);
  return data ?? error?.issues.map(({ message }) => message).join('; ');
};

test.each([
  'postgres://u:p@h:5432/db?sslmode=require',
  'postgresql://u@[::1]/db',
  'postgres:///db',
  'postgres://u:100%25safe%2C@h/db',
  'postgres://u:p,q@h/db',
  'postgres://u:p@%2Fvar%2Frun%2Fpostgresql/db',
  'postgres:///db?host=/var/run/postgresql',
])('%s is taken as it is', (text) => {
  expect(said(text)).toBe(text);
});

test.each([
  ['postgresql://u:p@/db?host=/tmp/sock', 'postgresql://u:p@localhost/db?host=/tmp/sock'],
  ['postgres://u:p@:5433/db?host=/tmp/sock', 'postgres://u:p@localhost:5433/db?host=/tmp/sock'],
])('%s leads to the socket', (text, url) => {
  expect(said(text)).toBe(url);
});

test.each([
  ['host=h dbname=db', /^must be a URL such as/],
  ['mysql://h/db', /^must be a URL such as/],
  ['postgres://u:100%safe@h/db', /^has a % without two hexadecimal digits after it: write it as %25$/],
  ['postgres://u:%ff@h/db', /^has percent-escapes that are not UTF-8/],
  ['postgres://u:a#b@h/db', /write # as %23/],
  ['postgres://u:a/b@h/db', /\/ as %2F/],
  ['postgres://u:p@h/db#x', /^has a #/],
  ['postgres://u:p@a,b/db', /^names several hosts, which is not supported/],
  ['postgres://u:p@a:1,b:2/db?target_session_attrs=read-write', /^names several hosts/],
  ['postgres:///db?host=a,b', /^names several hosts/],
  ['postgres://u:p@h/db?hostaddr=10.0.0.1', /^has the parameter hostaddr, which is not supported/],
  [
    'postgres://u:p@h/db?target_session_attrs=read-write',
    /^has target_session_attrs, which is not supported/,
  ],
  ['postgres://u:p@h/db?service=shop', /^has the parameter service/],
  ['postgres://u:p@h/db?sslrootcert=system', /^has sslrootcert=system, which is not supported/],
  ['postgres://u:p@/db', /^names no host: add one, or the folder of a Unix socket/],
])('%s is refused with a hint and without the password', (text, fault) => {
  expect(said(text)).toMatch(fault);
});

test.each([
  ['postgres://u:p@h/db', { host: 'h', port: 5432, database: 'db', user: 'u' }],
  ['postgres://u%40x:p@h:6432/my%20db', { host: 'h', port: 6432, database: 'my db', user: 'u@x' }],
  [
    'postgres://u@localhost?host=/run/pg&port=5433',
    { host: '/run/pg', port: 5433, database: 'u', user: 'u' },
  ],
])('%s leads to %j', (url, target) => {
  expect(targetOf(url)).toEqual(target);
});
