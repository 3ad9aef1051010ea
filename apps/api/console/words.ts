import {
  formatBytes as bytes,
  formatCount as count,
  formatDuration as duration,
  nameOmissions,
  type Remarks,
  remarksOf,
} from '#common';
import type { DaemonState, DaemonType, WorkerView } from '#contracts';
import { countBusy } from '../workers/workers.js';

/** Formats numbers and times for the pages. Functions that return HTML say so. */

export { bytes, count, duration, nameOmissions };

/** "1 table", "2 tables". */
export function counted(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/** "2 workers, 1 busy". */
export function workerCount(workers: WorkerView[]): string {
  return `${counted(workers.length, 'worker')}, ${count(countBusy(workers))} busy`;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const SPANS: [span: number, unit: Intl.RelativeTimeFormatUnit][] = [
  [365 * DAY, 'year'],
  [30 * DAY, 'month'],
  [DAY, 'day'],
  [HOUR, 'hour'],
  [MINUTE, 'minute'],
];
const relative = new Intl.RelativeTimeFormat('en');

/** "3 hours ago", "in 5 minutes". Times are milliseconds since 1970. */
export function age(on: number, now = Date.now()): string {
  const passed = on - now;
  for (const [span, unit] of SPANS)
    if (Math.abs(passed) >= span) return relative.format(Math.trunc(passed / span), unit);
  return passed > 0 ? 'in a moment' : 'just now';
}

/** "2026-11-25 02:30 UTC". */
export function utc(on: number): string {
  return `${new Date(on).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** "2026-11-25 03:30" on the clock of a time zone. */
export function inZone(on: number, timeZone: string): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' }).format(on);
}

/** HTML: an exact time in UTC. The script adds the viewer's own clock. */
export function exact(on: number): string {
  return `<time datetime="${new Date(on).toISOString()}" data-exact>${utc(on)}</time>`;
}

/** HTML: an age with its exact time, for machines and as a tooltip. */
export function time(on: number): string {
  return `<time datetime="${new Date(on).toISOString()}" title="${utc(on)}">${age(on)}</time>`;
}

/** "+3 %". */
export function change(ratio: number): string {
  return `${ratio < 0 ? '−' : '+'}${count(Math.round(Math.abs(ratio) * 100))} %`;
}

/** Encodes an archive's name as a part of a URL. */
export const part = encodeURIComponent;

const TYPES: Record<DaemonType, string> = {
  BACKUP: 'Backup',
  RESTORE: 'Restore',
  VERIFY: 'Verification',
  DROP: 'Drop of a database',
  CHECK: 'Check',
};
const STATES: Record<DaemonState, string> = {
  STARTED: 'Waiting',
  IN_PROGRESS: 'Running',
  COMPLETED: 'Completed',
  FAILED: 'Failed',
};

export function typeName(type: DaemonType): string {
  return TYPES[type];
}

export function stateName(state: DaemonState): string {
  return STATES[state];
}

/** A state with the class of its colour: a job that omits contents or warns is amber, and says so. */
export function shownState(status: DaemonState, remarks: Remarks = {}): { name: string; colour: string } {
  const noted = remarksOf(remarks);
  return {
    name: noted === undefined ? stateName(status) : `${stateName(status)} ${noted}`,
    colour: `${status.toLowerCase().replace('_', '-')}${noted === undefined ? '' : ' remarked'}`,
  };
}

/** The entities of a total, which is a tenth larger: see progressTotal. */
export function entitiesOf(progressTotal: number): number {
  return Math.ceil((progressTotal * 10) / 11);
}
