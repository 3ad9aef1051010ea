import { ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { swift } from './servers.js';

/** Lists the objects and the multipart uploads below a prefix of Swift's bucket. */
export async function whatIsThere(prefix: string): Promise<{ objects: string[]; uploads: string[] }> {
  const { endpoint, owner } = swift();
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: {
      accessKeyId: owner['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: owner['AWS_SECRET_ACCESS_KEY'] ?? '',
    },
  });
  try {
    const place = { Bucket: 'archives', Prefix: prefix };
    const { Contents = [] } = await client.send(new ListObjectsV2Command(place));
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand(place));
    return { objects: Contents.map(({ Key = '' }) => Key), uploads: Uploads.map(({ Key = '' }) => Key) };
  } finally {
    client.destroy();
  }
}
