import { Failure } from '#common';
import { type S3Fault, S3Proxy } from '../support/s3-proxy.js';
import { openStore, servers } from '../support/servers.js';
import { remedyFor } from '../../libs/storage/error-codes.js';

const signal = new AbortController().signal;

let proxy: S3Proxy;

beforeAll(async () => {
  proxy = await S3Proxy.to(servers.s3.endpoint);
});
afterEach(() => {
  proxy.fault = () => undefined;
});
afterAll(() => proxy.close());

const open = (more: Parameters<typeof openStore>[1] = {}, credentials = servers.s3.credentials) =>
  openStore({ endpoint: proxy.url, credentials }, { retryForMs: 0, ...more });

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const failure = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure instanceof Failure) return failure;
  throw new Error('It did not fail as it should.', { cause: failure });
}

const said = (code: string, message: string, status = 403, headers = {}): S3Fault => ({
  status,
  code,
  message,
  headers,
});
const ANSWERED = 'The object a.zip of the bucket archives: the object store answered';

test.each<[S3Fault, string, string]>([
  [
    said('AccessDenied', 'Access Denied'),
    'STORE_ACCESS_DENIED permanent',
    'Access Denied: the credentials lack s3:PutObject on the bucket archives. Grant s3:PutObject, then start again.',
  ],
  [
    said(
      'AccessDenied',
      'User: u is not authorized to perform: s3:PutObject with an explicit deny in a policy',
    ),
    'STORE_ACCESS_DENIED permanent',
    `${ANSWERED} 403 AccessDenied: User: u is not authorized to perform: s3:PutObject with an explicit deny in a policy. Change the policy that denies s3:PutObject.`,
  ],
  [
    said('AccessDenied', 'User: u is not authorized to perform: kms:GenerateDataKey on resource: k'),
    'STORE_ACCESS_DENIED permanent',
    `${ANSWERED} 403 AccessDenied: User: u is not authorized to perform: kms:GenerateDataKey on resource: k. Grant kms:GenerateDataKey and kms:Decrypt on the encryption key.`,
  ],
  [
    said('AccessDenied', 'Cannot upload files, storage cap exceeded.'),
    'STORE_ACCESS_DENIED permanent',
    `${ANSWERED} 403 AccessDenied: Cannot upload files, storage cap exceeded.`,
  ],
  [
    said('InvalidObjectState', "The operation is not valid for the object's storage class"),
    'STORE_REQUEST_FAILED permanent',
    `${ANSWERED} 403 InvalidObjectState: The operation is not valid for the object's storage class. Restore the object from its archive class (RestoreObject), then start again.`,
  ],
  [
    said('KMS.DisabledException', 'k is disabled.', 400),
    'STORE_REQUEST_FAILED permanent',
    `${ANSWERED} 400 KMS.DisabledException: k is disabled. Check the encryption key of the bucket.`,
  ],
  [
    said('AccountProblem', 'Your account is suspended.'),
    'STORE_REQUEST_FAILED permanent',
    `${ANSWERED} 403 AccountProblem: Your account is suspended.`,
  ],
  [
    said('RequestTimeTooSkewed', 'The difference is too large.'),
    'STORE_REQUEST_FAILED transient',
    `${ANSWERED} 403 RequestTimeTooSkewed: The difference is too large. Set the clock of this machine: it differs from the object store's.`,
  ],
  [
    said('AuthorizationHeaderMalformed', "the region 'a' is wrong; expecting 'b'", 400),
    'STORE_REQUEST_FAILED permanent',
    `${ANSWERED} 400 AuthorizationHeaderMalformed: the region 'a' is wrong; expecting 'b'. Check AWS_REGION, S3_ENDPOINT and AWS_ACCESS_KEY_ID.`,
  ],
  [
    said('BrokenMPU', 'Multipart upload has broken segment data.', 409),
    'STORE_UPLOAD_GONE transient',
    `${ANSWERED} 409 BrokenMPU: Multipart upload has broken segment data.`,
  ],
])('a store that answers %j', async (fault, kind, sentence) => {
  proxy.fault = () => fault;
  const store = open();
  const failure = await failureOf(store.startUpload('a.zip', signal));
  expect(`${failure.code} ${failure.persistence}`).toBe(kind);
  expect(failure.sentence).toBe(sentence);
  store.close();
});

test('an answer without a body tells the region of its header', async () => {
  proxy.fault = () => said('', '', 301, { 'x-amz-bucket-region': 'eu-central-1' });
  const store = open();
  const failure = await failureOf(store.check(signal));
  expect(failure.sentence).toMatch(/ answered 301 .*AWS_REGION.*: the bucket is in eu-central-1\.$/);
  store.close();
});

test('a wrong region or key id is not reported as a network failure', async () => {
  const requests = proxy.requests.length;
  const [region, key] = [
    open({ region: 'eu central 1' }),
    open({}, { ...servers.s3.credentials, AWS_ACCESS_KEY_ID: 'a\nb' }),
  ];
  const [ofRegion, ofKey] = [
    await failureOf(region.startUpload('a.zip', signal)),
    await failureOf(key.startUpload('a.zip', signal)),
  ];
  expect(ofRegion).toMatchObject({ code: 'STORE_REQUEST_FAILED', persistence: 'permanent' });
  expect(ofRegion.sentence).toMatch(/^AWS_REGION is wrong: Region not accepted/);
  expect(ofKey).toMatchObject({ code: 'STORE_LOGIN_REFUSED', persistence: 'permanent' });
  expect(ofKey.hint).toContain('AWS_ACCESS_KEY_ID');
  expect(proxy.requests.length).toBe(requests);
  for (const store of [region, key]) store.close();
  Object.assign(process.env, servers.s3.credentials);
});

test('a lost upload is not retried, and an upload that an earlier request completed succeeds', async () => {
  const store = open({ retryForMs: 60_000 });
  let completed = 0;
  proxy.fault = ({ operation }) => {
    if (operation !== 'CompleteMultipartUpload') return undefined;
    return ++completed === 1 ? 'lost answer' : said('BrokenMPU', 'broken', 409);
  };
  const kept = await store.startUpload('errors/kept.zip', signal);
  await kept.write(Buffer.from('kept'));
  await kept.complete();
  expect(completed).toBe(2);
  const lost = await store.startUpload('errors/lost.zip', signal);
  await lost.write(Buffer.from('lost'));
  expect(await failureOf(lost.complete())).toMatchObject({
    code: 'STORE_UPLOAD_GONE',
    persistence: 'transient',
  });
  expect(completed).toBe(3);
  await lost.abort();
  store.close();
});

test('the status decides about unknown codes', () => {
  expect([500, 503, 507, 429, 408].map((status) => remedyFor('New', status))).toEqual(
    Array(5).fill('request'),
  );
  expect(remedyFor('New', 409)).toBe('upload');
  expect([400, 403, 404, 405, 501].map((status) => remedyFor('New', status))).toEqual(Array(5).fill('none'));
  // Some answer with another status than S3 does.
  expect([remedyFor('SlowDown', 400), remedyFor('XMinioStorageFull', 507)]).toEqual(['request', 'none']);
});
