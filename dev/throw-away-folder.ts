import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new empty folder that other users may enter but not list: a server of another user can live below it. */
export function throwAwayFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'snapshotd-'));
  chmodSync(folder, 0o711);
  return folder;
}
