import {
  BACKUP,
  backupBy,
  DUMP,
  DUMP_FAST,
  FLOOR,
  ONE_BY_ONE,
  TABLES_BACKUP,
  TABLES_DUMP,
  WATCHED,
} from './backups.js';
import { memoryName } from './memory.js';
import type { Options } from './options.js';
import { PARALLEL_RESTORE, RECOVER } from './recovers.js';
import { PG_RESTORE, RESTORE } from './restores.js';
import type { Results } from './results.js';

export type Verdict = 'aim reached' | 'within the bound' | 'MISSED' | 'not measured';

/** A figure with its bound and aim. */
export interface Figure {
  name: string;
  value: number | undefined;
  bound: number;
  aim: number;
  /** Whether higher is better. */
  more?: boolean;
}

/** Computes all figures of a run, without a value if not measured. */
export function figures(results: Results, { sizes, against }: Options): Figure[] {
  const seconds = (name: string) => results.of(name)?.seconds;
  const rate = (name: string) => results.of(name)?.entitiesPerSecond;
  const peak = (name: string) => results.of(name)?.peakBytes;
  const jobs = ['backup', 'restore'] as const;
  const largest = Math.max(...sizes);
  return [
    {
      name: 'backup / (pg_dump -Fc + upload)',
      value: ratio(seconds(BACKUP), seconds(DUMP)),
      bound: 0.6,
      aim: 0.45,
    },
    {
      name: 'backup / (pg_dump -Fc -Z1 + upload)',
      value: ratio(seconds(BACKUP), seconds(DUMP_FAST)),
      bound: 1.3,
      aim: 0.9,
    },
    ...against.map((folder) => ({
      name: `backup / ${backupBy(folder)}`,
      value: ratio(seconds(BACKUP), seconds(backupBy(folder))),
      bound: 1.15,
      aim: 1.05,
    })),
    { name: 'backup / floor', value: ratio(seconds(BACKUP), seconds(FLOOR)), bound: 2, aim: 1.3 },
    {
      name: 'restore / (download + pg_restore)',
      value: ratio(seconds(RESTORE), seconds(PG_RESTORE)),
      bound: 1,
      aim: 0.8,
    },
    {
      name: 'recover / (download + pg_restore -jN + ANALYZE)',
      value: ratio(seconds(RECOVER), seconds(PARALLEL_RESTORE)),
      bound: 1.1,
      aim: 0.9,
    },
    ...sizes.flatMap((size) =>
      jobs.map((job) => ({
        name: `worker's peak MB, ${job} at ${size}x`,
        value: ratio(peak(memoryName(job, size)), 1e6),
        bound: 300,
        aim: 256,
      })),
    ),
    ...jobs.map((job) => ({
      name: `peak memory at ${largest}x / at 1x, ${job}`,
      // A single size has nothing to compare with.
      value: ratio(peak(memoryName(job, largest)), largest > 1 ? peak(memoryName(job, 1)) : undefined),
      bound: 1.1,
      aim: 1,
    })),
    {
      name: 'entities/s / one entity at a time',
      value: ratio(rate(BACKUP), rate(ONE_BY_ONE)),
      bound: 50,
      aim: 100,
      more: true,
    },
    {
      name: '2,000 tables of 10 rows / (pg_dump -Fc + upload)',
      value: ratio(seconds(TABLES_BACKUP), seconds(TABLES_DUMP)),
      bound: 2,
      aim: 1,
    },
    {
      name: 'backup while 200 daemonStatus/s / backup alone',
      value: ratio(seconds(WATCHED), seconds(BACKUP)),
      bound: 1.15,
      aim: 1.05,
    },
  ];
}

export function verdict({ value, bound, aim, more = false }: Figure): Verdict {
  if (value === undefined) return 'not measured';
  const reaches = (mark: number) => (more ? value >= mark : value <= mark);
  return reaches(aim) ? 'aim reached' : reaches(bound) ? 'within the bound' : 'MISSED';
}

function ratio(value: number | undefined, other: number | undefined): number | undefined {
  return value === undefined || other === undefined ? undefined : value / other;
}
