import { writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { type Figure, figures, verdict } from './figures.js';
import type { Options } from './options.js';
import type { Results } from './results.js';

/** What the figures depend on. */
export interface Circumstances {
  postgres: string;
  peers: string;
}

export interface Report {
  text: string;
  /** Whether a bound was missed. */
  missed: boolean;
}

const MB = 1e6;
const BOUNDS_ARE_FOR_CPUS = 2;

/** Writes the results where the options want them, and gives them as text. */
export function report(results: Results, options: Options, circumstances: Circumstances): Report {
  const judged = figures(results, options.sizes).map((figure) => ({ ...figure, verdict: verdict(figure) }));
  const machine = {
    cpus: cpus().length,
    model: cpus()[0]?.model ?? 'unknown',
    memoryBytes: totalmem(),
    node: process.version,
    ...circumstances,
  };
  const json = {
    takenAt: new Date().toISOString(),
    machine,
    options,
    competitors: results.all(),
    figures: judged.map((figure) => ({ ...figure, value: figure.value ?? null })),
    leftOut: results.leftOut(),
  };
  writeFileSync(options.json, `${JSON.stringify(json, null, 2)}\n`);
  const text = [
    `${options.entities} entities, ${options.rounds} rounds; ${machine.cpus} CPUs (${machine.model}), Node ${machine.node}, ` +
      `PostgreSQL ${machine.postgres}, ${machine.peers}`,
    ...(machine.cpus === BOUNDS_ARE_FOR_CPUS
      ? []
      : [`THE BOUNDS ARE FOR ${BOUNDS_ARE_FOR_CPUS} CPUS, and this machine has ${machine.cpus}.`]),
    ...results.leftOut().map((line) => `LEFT OUT: ${line}`),
    '',
    ...competitorTable(results),
    '',
    ...figureTable(judged),
  ].join('\n');
  return { text, missed: judged.some(({ verdict }) => verdict === 'MISSED') };
}

function competitorTable(results: Results): string[] {
  const header = ['', 'runs', 'median s', 'min', 'max', 'entities/s', 'MB', "worker's MB"];
  const rows = results
    .all()
    .map(({ name, samples, summary }) => [
      name,
      String(samples.length),
      summary.seconds.toFixed(2),
      summary.fastest.toFixed(2),
      summary.slowest.toFixed(2),
      summary.entitiesPerSecond?.toFixed(0) ?? '',
      inMegabytes(summary.bytes),
      inMegabytes(summary.peakBytes),
    ]);
  return aligned([header, ...rows]);
}

function figureTable(judged: (Figure & { verdict: string })[]): string[] {
  const header = ['', 'measured', 'bound', 'aim', ''];
  const rows = judged.map(({ name, value, bound, aim, verdict }) => [
    name,
    value === undefined ? '-' : value.toFixed(value < 10 ? 2 : 0),
    String(bound),
    String(aim),
    verdict,
  ]);
  return aligned([header, ...rows]);
}

function inMegabytes(bytes: number | undefined): string {
  return bytes === undefined ? '' : (bytes / MB).toFixed(bytes < 10 * MB ? 1 : 0);
}

/** Columns of equal width: the first one is text, the others are numbers. */
function aligned(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}
