import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = join(__dirname, '..', '..');
const CONSOLE = join(ROOT, 'apps', 'api', 'console');
/** An editor writes a file in several steps. */
const SETTLED_AFTER_MS = 200;

/**
 * Compiles the sources whenever one changes, and copies the console's pages and assets.
 * @param say takes the compiler's lines
 * @param onBuilt is called after each build without errors; one call at a time
 * @returns stops watching
 */
export function watchSources(say: (line: string) => void, onBuilt: () => Promise<void>): () => void {
  let restarting = Promise.resolve();
  const built = () => (restarting = restarting.then(onBuilt));

  const compiler = spawn(
    process.execPath,
    [
      join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
      ...['-p', 'tsconfig.build.json', '--watch', '--preserveWatchOutput'],
    ],
    { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  createInterface({ input: compiler.stdout }).on('line', (line) => {
    if (line.trim() !== '') say(line);
    if (/\bFound 0 errors\b/.test(line)) void built();
  });

  let settled: NodeJS.Timeout | undefined;
  const copy = () => {
    clearTimeout(settled);
    settled = setTimeout(() => {
      const copying = spawn(process.execPath, [join(CONSOLE, 'copy-assets.cjs')], { stdio: 'inherit' });
      copying.on('exit', () => void built());
    }, SETTLED_AFTER_MS);
  };
  const watchers = ['views', 'assets'].map((folder) => watch(join(CONSOLE, folder), copy));

  return () => {
    clearTimeout(settled);
    for (const watcher of watchers) watcher.close();
    compiler.kill();
  };
}
