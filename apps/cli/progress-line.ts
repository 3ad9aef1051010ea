import { formatDuration } from '#common';
import { printable } from './format.js';

const BAR_WIDTH = 24;

export interface Progressing {
  done: number;
  /** 0 if unknown. */
  total: number;
  message: string;
  /** Whether all is done, even if there was nothing to do. */
  finished: boolean;
}

export interface Pace {
  /** Amount per second. */
  rate: number | undefined;
  /** Milliseconds until the end. */
  left: number | undefined;
}

/** Formats progress as text, for a file or a pipe. */
export function progressText(
  { done, total, message, finished }: Progressing,
  { rate, left }: Pace,
  format: (amount: number) => string,
): string {
  const figures = [
    ...(total > 0 ? [`${format(done)}/${format(total)}`] : []),
    ...(rate !== undefined && rate > 0 ? [`${format(rate)}/s`] : []),
    ...(left !== undefined && !finished ? [`${formatDuration(left)} left`] : []),
  ];
  const percent = `${Math.floor(shareOf({ done, total, finished }) * 100)}%`.padStart(4);
  return [[percent, figures.join(', ')].filter(Boolean).join(' '), printable(message)].join(' - ');
}

/** Formats progress with a bar, cut to the width of the terminal. */
export function progressBar(
  progress: Progressing,
  pace: Pace,
  format: (amount: number) => string,
  columns: number,
): string {
  const full = Math.floor(shareOf(progress) * BAR_WIDTH);
  const bar = `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}] `;
  // A character in the last column may wrap the line, and a wrapped line cannot be overwritten.
  return (bar + progressText(progress, pace, format)).slice(0, Math.max(0, columns - 1));
}

function shareOf({ done, total, finished }: Omit<Progressing, 'message'>): number {
  return finished ? 1 : total > 0 ? Math.min(1, done / total) : 0;
}
