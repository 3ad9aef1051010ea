import type { DaemonStatus } from '#contracts';

/**
 * The scale of a job's progress for a number of rows. The last tenth stands for the work after the last row: 785 rows
 * give a total of 863.
 */
export function progressTotal(rows: number): number {
  return rows + Math.floor(rows / 10);
}

/** Whether a status is final. */
export function hasEnded({ status }: DaemonStatus): boolean {
  return status === 'COMPLETED' || status === 'FAILED';
}
