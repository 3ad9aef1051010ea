import { formatDuration, printable } from './format.js';

const BAR_WIDTH = 24;

export interface Progressing {
  done: number;
  /** 0 until it is known. */
  total: number;
  /** What is being done. */
  message: string;
  /** Whether all is done, also where there was nothing to do. */
  finished: boolean;
}

export interface Pace {
  /** So many a second. */
  rate: number | undefined;
  /** Milliseconds. */
  left: number | undefined;
}

/** How far it is, in words: for a file or a pipe. */
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

function shareOf({ done, total, finished }: Omit<Progressing, 'message'>): number {
  return finished ? 1 : total > 0 ? Math.min(1, done / total) : 0;
}
