import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { servers } from './servers.js';

const FORMAT = readFileSync(join(__dirname, '../../docs/archive-format.md'), 'utf8');

export const EMPTY_SERVER = 'On an empty server';
export const BY_HAND = 'Restoring by hand with unzip and psql';

/** The first block of code in a section of archive-format.md. */
function block(section: string, language: string): string {
  const text = FORMAT.slice(FORMAT.indexOf(`\n## ${section}\n`));
  const [, code] = new RegExp(`^( *)\`\`\`${language}\n([^]*?)^\\1\`\`\``, 'm').exec(text)?.slice(1) ?? [];
  if (code === undefined) throw new Error(`no ${language} in ${section}`);
  return code.replace(/^ {2}/gm, '');
}

export interface Place {
  /** The archive's file. */
  archive: string;
  /** A database of the target's server. */
  server: string;
  target: string;
}

/** The commands of a section of archive-format.md. */
export function commandsOf(section: string): string {
  return block(section, 'sh');
}

/** Runs commands of archive-format.md, with the names of an archive and a target. */
export function follow(commands: string, { archive, server, target }: Place): void {
  const folder = mkdtempSync(join(servers.folder, 'by-hand-'));
  writeFileSync(join(folder, 'plan.sql'), block(BY_HAND, 'sql'));
  const mine = commands
    .replace(/^export ARCHIVE=\S+/gm, `export ARCHIVE=${archive}`)
    .replace(/^TARGET=.*$/gm, `TARGET=${target}`)
    .replace(/^SERVER=.*$/gm, `SERVER=${server}`)
    .replace(/^less .*$/gm, '');
  execFileSync('bash', ['-euo', 'pipefail', '-c', mine], {
    cwd: folder,
    env: { PATH: `${servers.debianPostgres?.binaries}:${process.env['PATH']}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
