import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** The parts that can be measured separately. */
export const PARTS = ['backup', 'restore', 'recover', 'tables', 'memory'] as const;
export type Part = (typeof PARTS)[number];

export interface Options {
  entities: number;
  rounds: number;
  /** Of the memory part: multiples of `entities`, in ascending order. */
  sizes: number[];
  parts: readonly Part[];
  /** Folders of other versions, built, whose backups are measured in the same run. */
  against: string[];
  /** The file for the results. */
  json: string;
  /** The folder for the data of PostgreSQL and S3. */
  folder: string;
}

/** With fewer, the repository would have more revisions than nodes. */
const FEWEST_ENTITIES = 1_000;

export const USAGE = `npm run bench -- [options]

  --entities N    rows of the repository (1500000)
  --rounds N      counted runs of each competitor (3)
  --sizes 1,4,10  multiples of --entities for the memory part
  --no-memory     skip the memory part, which takes the longest
  --only a,b      measure only these parts: ${PARTS.join(', ')}
  --against DIR   also measure the backups of another version, built in DIR; may be repeated
  --json FILE     the file for the results (bench.json)
  --folder DIR    the folder for the servers' data (${tmpdir()})
  --help          print this text
`;

/**
 * Parses the command line.
 * @returns undefined for --help
 * @throws Error that names the wrong option
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
      against: { type: 'string', multiple: true, default: [] },
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
    against: values.against.map((folder) => resolve(folder)),
    json: values.json,
    folder: values.folder,
  };
}

function asPart(name: string): Part {
  const part = PARTS.find((known) => known === name.trim());
  if (part === undefined) throw new Error(`--only takes ${PARTS.join(', ')}, not ${name}`);
  return part;
}

function wholeNumber(option: string, text: string, least: number): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < least)
    throw new Error(`${option} must be a whole number of at least ${least}, not ${text}`);
  return number;
}
