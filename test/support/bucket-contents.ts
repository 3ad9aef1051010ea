import { ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { swift } from './servers.js';

/** The keys of all objects and of all unfinished uploads below a prefix, as the store itself lists them. */
export async function whatIsThere(Prefix: string): Promise<{ objects: string[]; uploads: string[] }> {
  const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } = swift().owner;
  const client = new S3Client({
    endpoint: swift().endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
  try {
    const listed = { Bucket: 'archives', Prefix };
    const { Contents = [] } = await client.send(new ListObjectsV2Command(listed));
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand(listed));
    return { objects: Contents.map(({ Key = '' }) => Key), uploads: Uploads.map(({ Key = '' }) => Key) };
  } finally {
    client.destroy();
  }
}
