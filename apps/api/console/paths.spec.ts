import { pageAfterLogin } from './paths.js';

test.each([
  ['/admin/daemons?type=BACKUP&offset=20', '/admin/daemons?type=BACKUP&offset=20'],
  ['/admin/archives/a%2Fb.zip', '/admin/archives/a%2Fb.zip'],
  ['/docs', '/docs'],
])('a login leads to the wanted page: %s', (wanted, page) => {
  expect(pageAfterLogin(wanted)).toBe(page);
});

test.each([
  ['https://elsewhere.example/admin'],
  ['//elsewhere.example/admin'],
  ['/\\elsewhere.example/admin'],
  ['\\\\elsewhere.example/admin'],
  ['/\t/elsewhere.example/admin'],
  ['/admin/../../elsewhere'],
  ['javascript:alert(1)//admin'],
  ['http://here.invalid@elsewhere.example/admin'],
  ['/administration'],
  ['/repo/v1/backups'],
  ['http://['],
  [undefined],
  [['/admin/daemons', '/admin']],
])('a login leads to the overview instead of %s', (wanted) => {
  expect(pageAfterLogin(wanted)).toBe('/admin');
});
