import { once } from 'node:events';
import { measure } from './bench/measure.js';
import { type Options, readOptions, USAGE } from './bench/options.js';
import { report } from './bench/report.js';
import { Results } from './bench/results.js';
import { say, startRig, versions } from './bench/rig.js';

const interrupted = new AbortController();

/** Measures snapshotd against the alternatives, on embedded servers. @returns whether all figures are within bounds */
async function bench(options: Options): Promise<boolean> {
  const results = new Results();
  const rig = await startRig(options.folder, interrupted.signal);
  const measuring = measure(rig, options, results);
  try {
    interrupted.signal.throwIfAborted();
    await Promise.race([measuring, once(interrupted.signal, 'abort')]);
    interrupted.signal.throwIfAborted();
    const { text, missed } = report(results, options, await versions(rig));
    process.stdout.write(`${text}\n`);
    return !missed;
  } finally {
    say('Stopping the servers');
    await rig.stop();
    // An interrupted measurement fails when its servers stop.
    await measuring.catch(() => undefined);
    await rig.discard();
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(USAGE);
  else if (!(await bench(options))) process.exitCode = 1;
}

// Every signal, not only the first: a second Ctrl-C must not leave the servers running.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

main().catch((error: unknown) => {
  process.exitCode = 1;
  if (interrupted.signal.aborted) process.stderr.write('\nStopped.\n');
  else
    process.stderr.write(
      `The benchmark failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
});
