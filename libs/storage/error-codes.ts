/**
 * The remedy for an error of the store: to repeat the request after a pause; to repeat the upload, which only the next
 * attempt of the job does; or none, until somebody has changed something.
 */
export type Remedy = 'request' | 'upload' | 'none';

/** The remedies for error codes, with the reasons. The HTTP status decides about other codes. */
const REMEDIES: Record<Remedy, Record<string, string>> = {
  request: {
    BadDigest: 'bytes were damaged on the way',
    Busy: 'too many requests',
    ClientDisconnect: 'the connection broke',
    ConditionalRequestConflict: 'another request for the key is being carried out',
    ExpiredToken: 'the SDK fetches the next temporary credentials as soon as there are any',
    IncompleteBody: 'the connection broke',
    InternalError: 'a fault of the store',
    'KMS.DependencyTimeoutException': 'a fault of the key service',
    'KMS.InternalException': 'a fault of the key service',
    'KMS.KMSInternalException': 'a fault of the key service',
    'KMS.ThrottlingException': 'too many requests to the key service',
    OperationAborted: 'another request for the bucket is being carried out',
    RequestTimeTooSkewed: 'the SDK has corrected its clock by this answer',
    RequestTimeout: 'the connection was silent for too long',
    ServiceUnavailable: 'the store is overloaded or being restarted',
    SlowDown: 'too many requests',
    TemporaryRedirect: 'a new bucket is not known everywhere yet',
    Throttling: 'too many requests',
    ThrottlingException: 'too many requests',
    TokenRefreshRequired: 'the SDK fetches the next temporary credentials as soon as there are any',
    TooManyRequests: 'too many requests',
    XAmzContentChecksumMismatch: 'bytes were damaged on the way',
    XAmzContentSHA256Mismatch: 'bytes were damaged on the way',
    XMinioServerNotInitialized: 'the store is being started',
  },
  upload: {
    BrokenMPU: 'Swift lost its record of the upload, or completed it by an earlier request',
    InvalidPart: 'a part is gone, or was replaced by a request that arrived late',
    InvalidPartOrder: 'the store mixed the parts up: they are sent in their order',
    NoSuchUpload: 'somebody or a lifecycle rule aborted the upload, or an earlier request completed it',
  },
  none: {
    AccessDenied: 'a right, a policy or the account forbids it',
    AccountProblem: 'the account is suspended',
    AllAccessDisabled: 'the account or the bucket is suspended',
    AuthorizationHeaderMalformed: 'the region or the key id is wrong',
    AuthorizationQueryParametersError: 'the region or the key id is wrong',
    EntityTooLarge: 'the store takes no object or part of this size',
    EntityTooSmall: 'the store demands larger parts',
    IllegalLocationConstraintException: 'the bucket is in another region',
    InvalidAccessKeyId: 'the key does not exist',
    InvalidArgument: 'the store does not take what it was sent',
    InvalidBucketName: 'no bucket can have this name',
    InvalidBucketState: 'the bucket is set up so that it refuses this',
    InvalidObjectState: 'the object is in an archive class and must be brought back first',
    InvalidPayer: 'the account is suspended',
    InvalidRequest: 'the store does not take what it was sent',
    InvalidSecurity: 'the credentials are not valid',
    InvalidStorageClass: 'the store has no such class',
    InvalidToken: 'the session token is wrong',
    'KMS.DisabledException': 'the encryption key is disabled',
    'KMS.InvalidKeyUsageException': 'the encryption key cannot encrypt',
    'KMS.KMSInvalidStateException': 'the encryption key is disabled or will be deleted',
    'KMS.KMSKeyNotFoundException': 'the encryption key does not exist',
    'KMS.NotFoundException': 'the encryption key does not exist',
    KeyTooLongError: 'the prefix is too long',
    MethodNotAllowed: 'the store cannot do this',
    NoSuchBucket: 'the bucket does not exist',
    NoSuchKey: 'the object does not exist',
    NoSuchVersion: 'the object does not exist',
    NotImplemented: 'the store cannot do this',
    NotSignedUp: 'the account has no S3',
    PermanentRedirect: 'the bucket is in another region',
    PreconditionFailed: 'the object was replaced',
    QuotaExceeded: 'the limit of the bucket or of the account is reached',
    RequestIsNotMultiPartContent: 'the store does not take what it was sent',
    SignatureDoesNotMatch: 'the secret key is wrong',
    UnauthorizedAccess: 'the account may not use this region',
    XAmzContentSHA256Required: 'the store does not take what it was sent',
    XMinioAdminBucketQuotaExceeded: 'the limit of the bucket is reached',
    XMinioStorageFull: 'the disks are full',
  },
};

const remedies = new Map(
  (Object.keys(REMEDIES) as Remedy[]).flatMap((remedy) =>
    Object.keys(REMEDIES[remedy]).map((code) => [code, remedy]),
  ),
);

/** The remedy for an answer with this code and HTTP status. */
export function remedyFor(code: string, status: number): Remedy {
  const known = remedies.get(code);
  if (known !== undefined) return known;
  if ([408, 425, 429].includes(status) || (status >= 500 && ![501, 505].includes(status))) return 'request';
  // A conflict that is temporary.
  return status === 409 ? 'upload' : 'none';
}
