import { randomBytes } from 'node:crypto';
import type { Archive } from '#contracts';
import { describeOnSwift, swift } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const path = (name: string, more = '') => `/repo/v1/backups/${encodeURIComponent(name)}${more}`;

interface ArchiveList {
  backups: Archive[];
  total: number;
}

describeOnSwift('credentials that may not', () => {
  const bucket = `rights-${randomBytes(4).toString('hex')}`;
  /** By Swift's own protocol: makes the bucket, with the one for parts, and says who else may read them. */
  const makeBucket = async (readers: string) => {
    const { AWS_ACCESS_KEY_ID: user = '', AWS_SECRET_ACCESS_KEY: key = '' } = swift().owner;
    const login = await fetch(`${swift().endpoint}/auth/v1.0`, {
      headers: { 'X-Auth-User': user, 'X-Auth-Key': key },
    });
    const token = login.headers.get('X-Auth-Token') ?? '';
    const headers = { 'X-Auth-Token': token, 'X-Container-Read': readers };
    for (const container of [bucket, `${bucket}+segments`]) {
      const url = `${login.headers.get('X-Storage-Url')}/${encodeURIComponent(container)}`;
      expect((await fetch(url, { method: 'PUT', headers })).status).toBeLessThan(300);
    }
  };
  const env = () => ({ S3_ENDPOINT: swift().endpoint, S3_BUCKET: bucket });
  let owner: Stack;
  let reader: Stack;
  let name: string;
  beforeAll(async () => {
    await makeBucket('');
    owner = await Stack.start({ env: { ...env(), ...swift().owner } });
    const { backupUrl } = await owner.finished((await owner.startBackup()).id);
    name = backupUrl?.split('/').at(-1) ?? '';
    reader = await Stack.start({ workers: 0, env: { ...env(), ...swift().reader } });
  });
  afterAll(async () => {
    await reader.stop();
    await owner.stop();
  });

  test('list get an answer that names the right to grant', async () => {
    expect(await reader.call('GET', '/repo/v1/backups')).toMatchObject({
      status: 502,
      body: {
        reason: expect.stringMatching(
          /^Access Denied: the credentials lack s3:ListBucket .* Grant s3:ListBucket/,
        ),
      },
    });
  });

  test('delete get one too, and can do all else', async () => {
    await makeBucket(`${swift().reader['AWS_ACCESS_KEY_ID']}`);
    const { body } = await reader.call<ArchiveList>('GET', '/repo/v1/backups');
    expect(body).toMatchObject({ total: 1, backups: [{ name, problem: null }] });
    expect(await reader.call('DELETE', path(name))).toMatchObject({
      status: 502,
      body: { reason: expect.stringMatching(/ Grant s3:DeleteObject/) },
    });
    expect((await owner.call<ArchiveList>('GET', '/repo/v1/backups')).body.total).toBe(1);
  });

  test('have a download address that the store accepts, for this object only', async () => {
    const redirect = await fetch(owner.url + path(name, '/download'), {
      headers: { sessionToken: owner.sessionToken },
      redirect: 'manual',
    });
    const location = redirect.headers.get('location') ?? '';
    const zip = await fetch(location);
    expect(zip.status).toBe(200);
    expect(zip.headers.get('content-disposition')).toBe(`attachment; filename="${name}"`);
    expect((await zip.arrayBuffer()).byteLength).toBeGreaterThan(0);
    expect((await fetch(location.replace('.zip?', '.zip.verified.json?'))).status).toBe(403);
    expect((await owner.call('DELETE', path(name))).status).toBe(204);
  });
});
