import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import pg from 'pg';
import { Secret } from '#config';
import { EmbeddedPostgres, EmbeddedS3, throwAwayFolder } from '#embedded';
import { ObjectStore } from '#storage';
import { backup } from './backup.js';

test('thin path', async () => {
  const folder = throwAwayFolder();
  const postgres = await EmbeddedPostgres.start({ folder: join(folder, 'pg'), durable: false });
  const s3 = await EmbeddedS3.start({ folder: join(folder, 's3'), bucket: 'archives' });
  Object.assign(process.env, EmbeddedS3.credentials);
  const c = new pg.Client(postgres.url());
  await c.connect();
  await c.query(`create schema r; create table r.a(id int, t text); insert into r.a select i, repeat(md5(i::text), 30) from generate_series(1,200000) i; create table r.b(); insert into r.b default values;`);
  await c.end();
  const store = new ObjectStore({ bucket: 'archives', prefix: '', region: 'us-east-1', endpoint: s3.endpoint, forcePathStyle: true, checksums: 'when_required' });
  const messages: string[] = [];
  const t = Date.now();
  const result = await backup({
    daemonId: '1', version: '0', repository: { url: new Secret(postgres.url()), schemas: ['r'] }, store, keyPrefix: '', compressionLevel: 1,
    journal: { archives: [], report: (p) => messages.push(JSON.stringify(p)), recordArchive: async () => {} },
    signal: new AbortController().signal,
  });
  console.log(Date.now() - t, result, messages.join('\n'));
  const bytes = await buffer(await store.read(result.key, 0, result.bytes, new AbortController().signal));
  writeFileSync('/tmp/a.zip', bytes);
  await s3.stop();
  await postgres.stop();
  rmSync(folder, { recursive: true });
});
