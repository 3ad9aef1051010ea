import { writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { formatBytes } from '#common';
import { type Figure, figures, verdict } from './figures.js';
import type { Options } from './options.js';
import type { Results } from './results.js';

/** The versions of the programs that were measured. */
export interface Circumstances {
  postgres: string;
  peers: string;
}

export interface Report {
  text: string;
  /** Whether a bound was missed. */
  missed: boolean;
}

const BOUNDS_ARE_FOR_CPUS = 2;

/** Writes the results to the file of the options and formats them as text. */
export function report(results: Results, options: Options, circumstances: Circumstances): Report {
  const judged = figures(results, options).map((figure) => ({ ...figure, verdict: verdict(figure) }));
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
      : [`THE BOUNDS ARE FOR ${BOUNDS_ARE_FOR_CPUS} CPUS; this machine has ${machine.cpus}.`]),
    ...results.leftOut().map((line) => `NOT MEASURED: ${line}`),
    '',
    ...competitorTable(results),
    '',
    ...figureTable(judged),
  ].join('\n');
  return { text, missed: judged.some((figure) => figure.verdict === 'MISSED') };
}

function competitorTable(results: Results): string[] {
  const header = ['', 'runs', 'median s', 'min', 'max', 'entities/s', 'size', "worker's memory"];
  const rows = results
    .all()
    .map(({ name, samples, summary }) => [
      name,
      String(samples.length),
      summary.seconds.toFixed(2),
      summary.fastest.toFixed(2),
      summary.slowest.toFixed(2),
      summary.entitiesPerSecond?.toFixed(0) ?? '',
      summary.bytes === undefined ? '' : formatBytes(summary.bytes),
      summary.peakBytes === undefined ? '' : formatBytes(summary.peakBytes),
    ]);
  return aligned([header, ...rows]);
}

function figureTable(judged: (Figure & { verdict: string })[]): string[] {
  const header = ['', 'measured', 'bound', 'aim', ''];
  const rows = judged.map(({ name, value, bound, aim, ...figure }) => [
    name,
    value === undefined ? '-' : value.toFixed(value < 10 ? 2 : 0),
    String(bound),
    String(aim),
    figure.verdict,
  ]);
  return aligned([header, ...rows]);
}

/** Aligns columns: the first to the left, the others to the right. */
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
