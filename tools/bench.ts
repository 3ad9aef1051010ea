import { measure } from './bench/measure.js';
import { type Options, readOptions, USAGE } from './bench/options.js';
import { say } from './bench/progress.js';
import { report } from './bench/report.js';
import { Results } from './bench/results.js';
import { startRig, versions } from './bench/rig.js';

const interrupted = new AbortController();

/** Measures snapshotd against what else one could do, on servers of its own. @returns whether it kept all bounds */
async function bench(options: Options): Promise<boolean> {
  const results = new Results();
  const rig = await startRig(options.folder, interrupted.signal);
  const measuring = measure(rig, options, results);
  try {
    await Promise.race([measuring, interruption()]);
    const { text, missed } = report(results, options, await versions(rig));
    process.stdout.write(`${text}\n`);
    return !missed;
  } finally {
    say('Stopping the servers');
    await rig.stop();
    // What was interrupted fails with the servers that it uses.
    await measuring.catch(() => undefined);
    await rig.discard();
  }
}

function interruption(): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(interrupted.signal.reason as Error);
    if (interrupted.signal.aborted) stop();
    else interrupted.signal.addEventListener('abort', stop, { once: true });
  });
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(USAGE);
  else if (!(await bench(options))) process.exitCode = 1;
}

// Again and again, since the servers must not be left behind.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

main().catch((error: unknown) => {
  process.exitCode = 1;
  if (interrupted.signal.aborted) process.stderr.write('\nStopped.\n');
  else
    process.stderr.write(
      `The benchmark failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
});
