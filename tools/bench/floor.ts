import { to as copyTo } from 'pg-copy-streams';
import { withClient } from './connect.js';
import { tablesOf } from './repository.js';
import type { Sample } from './results.js';

/** Has PostgreSQL send a schema's tables as CSV, to nobody: what no backup over one connection can undercut. */
export function drain(url: string, schema: string): Promise<Sample> {
  return withClient(url, async (client) => {
    const began = performance.now();
    let bytes = 0;
    for (const table of await tablesOf(client, schema)) {
      const csv = client.query(copyTo(`COPY ${table} TO STDOUT (FORMAT csv)`));
      for await (const chunk of csv as AsyncIterable<Buffer>) bytes += chunk.length;
    }
    return { seconds: (performance.now() - began) / 1000, bytes };
  });
}
