import { formatDuration, printable } from './format.js';

const BAR_WIDTH = 24;

export interface Progressing {
  done: number;
  /** 0 until it is known. */
  total: number;
  /** What is being done. */
  message: string;
}

export interface Pace {
  /** So many a second. */
  rate: number | undefined;
  /** Milliseconds. */
  left: number | undefined;
}

/** How far it is, in words: for a file or a pipe. */
export function progressText(progress: Progressing, pace: Pace, format: (amount: number) => string): string {
  return `${figures(progress, pace, format)} - ${printable(progress.message)}`;
}

/** The same with a bar, no longer than a terminal is wide. */
export function progressBar(
  progress: Progressing,
  pace: Pace,
  format: (amount: number) => string,
  columns: number,
): string {
  const full = Math.floor(shareOf(progress) * BAR_WIDTH);
  const bar = `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] `;
  // The last column would wrap the line, and what is wrapped cannot be written over.
  return (bar + progressText(progress, pace, format)).slice(0, Math.max(0, columns - 1));
}

function figures(
  { done, total, message }: Progressing,
  { rate, left }: Pace,
  format: (amount: number) => string,
) {
  const percent = `${Math.floor(shareOf({ done, total, message }) * 100)}%`.padStart(4);
  return [
    `${percent} ${format(done)}${total > 0 ? `/${format(total)}` : ''}`,
    ...(rate === undefined ? [] : [`${format(rate)}/s`]),
    ...(left === undefined || done >= total ? [] : [`${formatDuration(left)} left`]),
  ].join(', ');
}

function shareOf({ done, total }: Progressing): number {
  return total > 0 ? Math.min(1, done / total) : 0;
}
