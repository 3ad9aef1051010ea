import { EmbeddedS3 } from '../../dev/index.js';

/**
 * Runs the S3 server as a separate process, so that it takes no time from the process that uploads for pg_dump.
 * Arguments: folder, bucket, port.
 */
async function serve([folder = '', bucket = '', port = '']: string[]): Promise<void> {
  const s3 = await EmbeddedS3.start({ folder, bucket, port: Number(port) });
  process.once('SIGTERM', () => void s3.stop().then(() => process.exit()));
}

void serve(process.argv.slice(2));
