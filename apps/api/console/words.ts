import type { DaemonState, DaemonType } from '#contracts';

/** Formats numbers and times for the pages. Functions that return HTML say so. */

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** 1,234,567 bytes are 1.2 MB. */
export function bytes(length: number): string {
  let value = length;
  let step = 0;
  // Values that round to 1,000 get the next unit.
  for (; value >= (step === 0 ? 1_000 : 999.5) && step < UNITS.length - 1; step++) value /= 1_000;
  return `${step > 0 && value < 99.95 ? value.toFixed(1) : count(Math.round(value))} ${UNITS[step]}`;
}

export function count(number: number): string {
  return number.toLocaleString('en-US');
}

/** "1 table", "2 tables". */
export function counted(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "0.4 s", "3 min 20 s", "2 h 5 min". */
export function duration(milliseconds: number): string {
  if (milliseconds < 100) return 'under 0.1 s';
  if (milliseconds < 10 * SECOND) return `${(milliseconds / SECOND).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / SECOND);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

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

/** HTML: an age with its exact time, for machines and as a tooltip. */
export function time(on: number): string {
  return `<time datetime="${new Date(on).toISOString()}" title="${utc(on)}">${age(on)}</time>`;
}

/** Encodes an archive's name as a part of a URL. */
export const part = encodeURIComponent;

const TYPES: Record<DaemonType, string> = { BACKUP: 'Backup', RESTORE: 'Restore', VERIFY: 'Verification' };
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

/** The entities of a total, which is a tenth larger: see progressTotal. */
export function entitiesOf(progressTotal: number): number {
  return Math.ceil((progressTotal * 10) / 11);
}
