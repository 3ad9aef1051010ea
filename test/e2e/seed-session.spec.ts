import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { generate } from 'selfsigned';
import { oneOf, queues, servers } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const run = promisify(execFile);

describe.each(oneOf(queues, 0))(
  "the seed's session of curl commands over HTTPS with the %s queue",
  (_title, queueUrl) => {
    test('gives the answers of the seed', async () => {
      const { cert, private: key } = await generate([{ name: 'commonName', value: '127.0.0.1' }]);
      const [certFile, keyFile] = ['cert', 'key'].map((name) => join(servers.folder, `${name}.pem`)) as [
        string,
        string,
      ];
      writeFileSync(certFile, cert);
      writeFileSync(keyFile, key);
      const tls = await Stack.start({
        queueUrl,
        wait: false,
        env: { TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile, BACKUP_DEFINITIONS: 'auto' },
      });
      const curl = async (...args: string[]) => (await run('curl', ['-sS', '-i', '-k', ...args])).stdout;
      await tls.api.ready(() => curl(`${tls.url}/health/live`));
      expect(await curl(`${tls.url}/health/live`)).toMatch(
        /^strict-transport-security: max-age=31536000\r$/im,
      );
      const { email, password } = Stack.administrator;

      const login = await curl(
        '-H',
        'sessionToken:YourSessionToken',
        '-H',
        'Accept:application/json',
        '-H',
        'Content-Type:application/json',
        '-d',
        `{ "email": "${email}", "password": "${password}" }`,
        `${tls.url}/auth/v1/session`,
      );
      expect(login).toMatch(/^HTTP\/1\.1 201 Created\r\n/);
      expect(login).toMatch(/^content-type: application\/json/im);
      const token = /"sessionToken":"([\w-]{43})"/.exec(login)?.[1] ?? '';

      const started = await curl(
        '-H',
        `sessionToken:${token}`,
        '-H',
        'Accept:application/json',
        '-H',
        'Content-Type:application/json',
        '-d',
        '{ }',
        `${tls.url}/repo/v1/startBackupDaemon`,
      );
      expect(started).toMatch(/^HTTP\/1\.1 201 Created\r\n/);
      expect(started).toMatch(
        /\r\n\r\n\{"id":"1","type":"BACKUP","status":"STARTED","errorMessage":null,"progresssMessage":"Starting\.\.\.","progresssCurrent":0,"progresssTotal":0,"errorDetails":null,"backupUrl":null,"totalTimeMS":0,"startedBy":"platform@example\.org","startedOn":\d{13}\}$/,
      );

      let status = '';
      while (!/"status":"(COMPLETED|FAILED)"/.test(status)) {
        await sleep(100);
        status = await curl(
          '-H',
          `sessionToken:${token}`,
          '-H',
          'Accept:application/json',
          '-H',
          'Content-Type:application/json',
          `${tls.url}/repo/v1/daemonStatus/1`,
        );
      }
      expect(status).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(status).toMatch(
        /\r\n\r\n\{"id":"1","type":"BACKUP","status":"COMPLETED","errorMessage":null,"progresssMessage":"Finished: BACKUP","progresssCurrent":0,"progresssTotal":0,"errorDetails":null,"backupUrl":"http:\/\/127\.0\.0\.1:\d+\/archives\/BackupDaemonJob1-\d+\.zip","totalTimeMS":\d+,"startedBy":"platform@example\.org","startedOn":\d{13}\}$/,
      );
      await tls.stop();
    });
  },
);
