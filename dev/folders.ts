import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Makes a new empty folder that other users may enter but not list, for servers that run as another user. */
export function throwAwayFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'snapshotd-'));
  chmodSync(folder, 0o711);
  return folder;
}

/** Generates a password once and keeps it in a file that only the present user can read. */
export function keptPassword(file: string): string {
  if (!existsSync(file)) writeFileSync(file, randomBytes(24).toString('base64url'), { mode: 0o600 });
  return readFileSync(file, 'utf8');
}
