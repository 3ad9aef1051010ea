import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import pg from 'pg';
import { BUNDLED_VERSION } from './bundled.js';
import { type ConnectionTls, connectionTls, whyUnusable } from './pg-dump.js';
import { whyUnreadable } from './schema-dump.js';

const program = (version: string) => ({ version, major: Number.parseInt(version) });
const OPEN: ConnectionTls = { mode: 'disable' };

test.each(['14.18', '15.13', '16.9', '17.5', '16beta1', '17devel', '18devel', '18beta2'])(
  'pg_dump %s is refused: names can add psql commands to its output',
  (version) => {
    expect(whyUnusable(program(version), '14.1', OPEN)).toContain('CVE-2025-8714');
  },
);

test.each(['9.6.24', '12.22', '13.23'])(
  'pg_dump %s is refused: no release of its major version is safe',
  (version) => {
    expect(whyUnusable(program(version), version, OPEN)).toContain('CVE-2025-8714');
  },
);

test.each(['14.19', '15.14', '15.20', '16.10', '17.6', '17.10', '18beta3', '18rc1', '18.0', '19.3'])(
  'pg_dump %s is accepted',
  (version) => {
    expect(whyUnusable(program(version), '14.1', OPEN)).toBeUndefined();
  },
);

test('a pg_dump that is older than the server, or missing, is refused', () => {
  expect(whyUnusable(program('15.20'), '18.4', OPEN)).toBe(
    'pg_dump on PATH has the version 15.20, and the server is 18.4',
  );
  expect(whyUnusable(undefined, '18.4', OPEN)).toBe('there is no pg_dump on PATH');
});

test('the bundled pg_dump reads what that on PATH must not, up to PostgreSQL 18', () => {
  expect(whyUnreadable(undefined, '18.4', OPEN)).toBeUndefined();
  expect(whyUnreadable(program('15.13'), '15.20', { mode: 'verify-full' })).toBeUndefined();
  expect(whyUnreadable(program('19.1'), '19beta1', OPEN)).toBeUndefined();
  expect(whyUnreadable(undefined, '19beta1', OPEN)).toBe(
    'the server is PostgreSQL 19beta1, the bundled pg_dump reads servers up to 18, and there is no pg_dump on PATH',
  );
});

test('the version of the bundled pg_dump is the one that it reports', () => {
  const folder = dirname(require.resolve('@electric-sql/pglite-tools/pg_dump'));
  const wasm = readFileSync(join(folder, 'pg_dump.wasm'), 'latin1');
  const said = /pg_dump \(PostgreSQL\) [\w.]+/.exec(wasm)?.[0];
  expect(said).toBe(`pg_dump (PostgreSQL) ${BUNDLED_VERSION}`);
});

test("the system's authorities need pg_dump 16, an authority's file does not", () => {
  for (const mode of ['verify-full', 'verify-ca'] as const) {
    expect(whyUnusable(program('15.20'), '15.20', { mode })).toContain(
      "cannot verify the server's certificate as the worker does",
    );
    expect(whyUnusable(program('16.10'), '15.20', { mode })).toBeUndefined();
    expect(whyUnusable(program('14.19'), '14.19', { mode, authority: '/ca.crt' })).toBeUndefined();
  }
  expect(whyUnusable(program('14.19'), '14.19', { mode: 'require' })).toBeUndefined();
});

describe('pg_dump verifies as much as node-postgres', () => {
  const folder = mkdtempSync(join(tmpdir(), 'snapshotd-tls-'));
  const file = join(folder, 'ca.crt');
  // node-postgres warns that these modes will verify less in a later version.
  const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const setMode = process.env['PGSSLMODE'];
  beforeAll(() => writeFileSync(file, 'no certificate'));
  afterEach(() => {
    if (setMode === undefined) delete process.env['PGSSLMODE'];
    else process.env['PGSSLMODE'] = setMode;
  });
  afterAll(() => {
    warned.mockRestore();
    rmSync(folder, { recursive: true });
  });
  const tlsOf = (query: string) => {
    const url = `postgres://u:p@db.example.org/app${query}`;
    return connectionTls(url, new pg.Client(url));
  };

  test.each([
    ['', { mode: 'disable' }],
    ['?sslmode=disable', { mode: 'disable' }],
    ['?ssl=0', { mode: 'disable' }],
    ['?sslmode=no-verify', { mode: 'require' }],
    ['?ssl=no-verify', { mode: 'require' }],
    ['?sslmode=allow', { mode: 'verify-full' }],
    ['?sslmode=prefer', { mode: 'verify-full' }],
    ['?sslmode=require', { mode: 'verify-full' }],
    ['?sslmode=verify-ca', { mode: 'verify-full' }],
    ['?sslmode=verify-full', { mode: 'verify-full' }],
    ['?ssl=true', { mode: 'verify-full' }],
    ['?sslnegotiation=direct', { mode: 'verify-full' }],
    ['?uselibpqcompat=true&sslmode=require', { mode: 'require' }],
    [`?sslmode=require&sslrootcert=${file}`, { mode: 'verify-full', authority: file }],
    [`?sslrootcert=${file}`, { mode: 'verify-full', authority: file }],
    [`?sslrootcert=/elsewhere&sslrootcert=${file}`, { mode: 'verify-full', authority: file }],
    [`?sslrootcert=${relative('.', file)}`, { mode: 'verify-full', authority: file }],
    [`?uselibpqcompat=true&sslmode=verify-ca&sslrootcert=${file}`, { mode: 'verify-ca', authority: file }],
  ])('%s', (query, tls) => {
    expect(tlsOf(query)).toEqual(tls);
  });

  test.each([
    ['require', { mode: 'verify-full' }],
    ['no-verify', { mode: 'require' }],
    ['disable', { mode: 'disable' }],
  ])('PGSSLMODE=%s counts if the URL has no sslmode', (mode, tls) => {
    process.env['PGSSLMODE'] = mode;
    expect(tlsOf('')).toEqual(tls);
    expect(tlsOf('?sslmode=verify-full')).toEqual({ mode: 'verify-full' });
  });
});
