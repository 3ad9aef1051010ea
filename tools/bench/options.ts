import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';

/** What can be measured by itself. */
export const PARTS = ['backup', 'restore', 'tables', 'memory'] as const;
export type Part = (typeof PARTS)[number];

export interface Options {
  entities: number;
  rounds: number;
  /** Of the memory part, as multiples of `entities`, the smallest first. */
  sizes: number[];
  parts: readonly Part[];
  /** Where the results go. */
  json: string;
  /** Where PostgreSQL and S3 keep what they hold. */
  folder: string;
}

/** Below this, the repository would have more revisions than nodes to hang them on. */
const FEWEST_ENTITIES = 1_000;

export const USAGE = `npm run bench -- [options]

  --entities N    rows of the repository (1500000)
  --rounds N      counted runs of each competitor (3)
  --sizes 1,4,10  multiples of the size at which the worker's memory is taken
  --no-memory     leave the memory out, which takes the longest
  --only a,b      only these parts: ${PARTS.join(', ')}
  --json FILE     where the results go (bench.json)
  --folder DIR    where the servers keep their data (${tmpdir()})
  --help          this text
`;

/**
 * @returns undefined where only the usage was asked for
 * @throws Error that says which option is wrong
 */
export function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      entities: { type: 'string', default: '1500000' },
      rounds: { type: 'string', default: '3' },
      sizes: { type: 'string', default: '1,4,10' },
      'no-memory': { type: 'boolean', default: false },
      only: { type: 'string', default: PARTS.join(',') },
      json: { type: 'string', default: 'bench.json' },
      folder: { type: 'string', default: tmpdir() },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const parts = values.only.split(',').map(asPart);
  return {
    entities: wholeNumber('--entities', values.entities, FEWEST_ENTITIES),
    rounds: wholeNumber('--rounds', values.rounds, 1),
    sizes: values.sizes
      .split(',')
      .map((size) => wholeNumber('--sizes', size, 1))
      .toSorted((a, b) => a - b),
    parts: values['no-memory'] ? parts.filter((part) => part !== 'memory') : parts,
    json: values.json,
    folder: values.folder,
  };
}

function asPart(name: string): Part {
  const part = PARTS.find((part) => part === name.trim());
  if (part === undefined) throw new Error(`--only knows ${PARTS.join(', ')}, and not ${name}`);
  return part;
}

function wholeNumber(option: string, text: string, least: number): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < least)
    throw new Error(`${option} must be a whole number of at least ${least}, and not ${text}`);
  return number;
}
