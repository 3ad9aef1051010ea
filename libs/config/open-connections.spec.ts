import { networkInterfaces } from 'node:os';
import { openConnections } from './open-connections.js';

const own = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses)[0]?.address ?? '';

test.each([
  [
    'another host without sslmode',
    { DATABASE_URL: 'postgres://u:secret@db.example.org/app' },
    ['DATABASE_URL'],
  ],
  [
    'a separate setting for the repository',
    { REPOSITORY_URL: 'postgresql://u@10.1.2.3:5433/app?application_name=x' },
    ['REPOSITORY_URL'],
  ],
  ['a queue in PostgreSQL', { QUEUE_URL: 'postgres://u@db.example.org/app' }, ['QUEUE_URL']],
  ['a queue in Redis', { QUEUE_URL: 'redis://:secret@redis:6379' }, ['QUEUE_URL']],
  ['a queue in Redis with TLS', { QUEUE_URL: 'rediss://:secret@redis:6379' }, []],
  [
    'a host in the query',
    { DATABASE_URL: 'postgres://u@localhost/app?host=db.example.org' },
    ['DATABASE_URL'],
  ],
  [
    'the last of several hosts',
    { DATABASE_URL: 'postgres://u@localhost/app?host=127.0.0.1&host=db.example.org' },
    ['DATABASE_URL'],
  ],
  ['an empty host in the query', { DATABASE_URL: 'postgres://u@db.example.org/app?host=' }, ['DATABASE_URL']],
  ['PGHOST', { DATABASE_URL: 'postgres:///app', PGHOST: 'db.example.org' }, ['DATABASE_URL']],
  [
    'an sslmode that is empty',
    { DATABASE_URL: 'postgres://u@db.example.org/app?sslmode=' },
    ['DATABASE_URL'],
  ],
  [
    'a name that only begins like this machine',
    { DATABASE_URL: 'postgres://u@localhost.example.org/app' },
    ['DATABASE_URL'],
  ],
  ['an address that is not loopback', { DATABASE_URL: 'postgres://u@[2001:db8::1]/app' }, ['DATABASE_URL']],
  ['an sslmode', { DATABASE_URL: 'postgres://u@db.example.org/app?sslmode=verify-full' }, []],
  ['a decision against encryption', { DATABASE_URL: 'postgres://u@db.example.org/app?sslmode=disable' }, []],
  ['ssl', { DATABASE_URL: 'postgres://u@db.example.org/app?ssl=true' }, []],
  ['PGSSLMODE', { DATABASE_URL: 'postgres://u@db.example.org/app', PGSSLMODE: 'require' }, []],
  ['PGSSLMODE is not for Redis', { QUEUE_URL: 'redis://redis:6379', PGSSLMODE: 'require' }, ['QUEUE_URL']],
  [
    'this machine',
    {
      DATABASE_URL: 'postgres://u@localhost/app',
      QUEUE_URL: 'redis://127.0.0.1:6379',
      REPOSITORY_URL: 'postgres://u@[::1]/app',
    },
    [],
  ],
  ['an address of this machine', { QUEUE_URL: `redis://${own.includes(':') ? `[${own}]` : own}:6379` }, []],
  [
    'a Unix socket',
    {
      DATABASE_URL: 'postgres:///app?host=/var/run/postgresql',
      REPOSITORY_URL: 'postgres://u@%2Fvar%2Frun%2Fpostgresql/app',
    },
    [],
  ],
])('%s', (_what, env: Record<string, string>, names) => {
  const warnings = openConnections(env);
  expect(warnings.map((warning) => warning.split(' ')[0])).toEqual(names);
  expect(warnings.join()).not.toContain('secret');
});

test('a warning names the host and the remedy', () => {
  expect(openConnections({ DATABASE_URL: 'postgres://u:secret@db.example.org/app' })).toEqual([
    'DATABASE_URL leads to db.example.org and has no sslmode: passwords and data travel unencrypted, to any server that answers. Add sslmode=verify-full, or sslmode=disable if you trust the network.',
  ]);
});
