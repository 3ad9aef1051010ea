import { readFile } from 'node:fs/promises';
import { isAlias, isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { errorSentence, Failure } from '#common';
import { AFTER_BACKUP, type ScheduleRequest } from '#contracts';
import type { RepositorySettings } from '../api.js';
import { readInput } from '../prompt.js';
import type { SecretSource } from '../secret-source.js';

/** A secret as the file gives it: itself, or its place. */
export type DeclaredSecret = string | SecretSource;

export type DeclaredRepository = Omit<RepositorySettings, 'url' | 'drillUrl'> & {
  url?: DeclaredSecret;
  drillUrl?: DeclaredSecret | null;
};

/** What a file declares, by name. A missing section says nothing about its things. */
export interface Configuration {
  repositories?: Record<string, DeclaredRepository>;
  schedules?: Record<string, Partial<ScheduleRequest>>;
}

/** A configuration, and the places of its entries. */
export interface ConfigurationFile {
  configuration: Configuration;
  /** The place of an entry for messages, such as `snapshotd.yml:3: repositories.crm`. */
  placeOf: (section: keyof Configuration, name: string) => string;
}

/** Says what a value must be, unless it is. */
type Check = (value: unknown) => string | undefined;

/** The values that may be at a place: those that pass the check, and mappings. */
interface Shape {
  value?: Check;
  /** A mapping with these keys, all of which may be missing. */
  keys?: Record<string, Shape>;
  /** A mapping with names as keys. */
  entries?: Shape;
}

const text: Shape = { value: must('be a text', (value) => typeof value === 'string') };
const flag: Shape = { value: must('be true or false', (value) => typeof value === 'boolean') };
const count: Shape = { value: must('be a whole number', (value) => Number.isSafeInteger(value)) };
const orNull = ({ value: check, ...shape }: Shape): Shape => ({
  ...shape,
  value: (value) =>
    value === null ? undefined : (check?.(value) ?? (check ? undefined : 'must be a mapping')),
});
const texts: Shape = {
  value: must(
    'be a list of texts',
    (value) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
  ),
};
const secret: Shape = {
  value: must('be a URL, {env: VARIABLE} or {file: PATH}', (value) => typeof value === 'string'),
  keys: { env: text, file: text },
};

const CONFIGURATION: Shape = {
  keys: {
    repositories: {
      entries: {
        keys: {
          url: secret,
          schemas: texts,
          excludeSchemas: texts,
          excludeTables: texts,
          excludeTableRows: texts,
          jobs: orNull(count),
          definitions: orNull(text),
          drillUrl: orNull(secret),
          prefix: text,
          adopt: flag,
        },
      },
    },
    schedules: {
      entries: {
        keys: {
          repository: text,
          pattern: text,
          timeZone: text,
          then: {
            value: must(
              `be one of ${AFTER_BACKUP.join(', ')}, or {recoverInto: REPOSITORY, swap: true}`,
              (value) => typeof value === 'string',
            ),
            keys: { recoverInto: text, swap: flag, accept: texts, createRoles: flag, noOwner: flag },
          },
          retention: orNull({
            keys: { last: count, daily: count, weekly: count, monthly: count, yearly: count },
          }),
          enabled: flag,
        },
      },
    },
  },
};

/**
 * Reads a configuration from a file, or from stdin: `-`. Messages quote no values, which may be secrets.
 * @throws Failure FILE_REFUSED that names all faults with their lines
 */
export async function readConfiguration(file: string): Promise<ConfigurationFile> {
  const source = await contentOf(file);
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const label = file === '-' ? 'stdin' : file;
  const at = (offset: number) => `${label}:${lines.linePos(offset).line}`;
  const faults = [...document.errors, ...document.warnings].map(
    ({ message, pos }) => `${at(pos[0])}: ${message.split('\n', 1)[0] ?? ''}`,
  );
  const places = new Map<string, string>();

  const fault = (offset: number, path: string[], message: string) =>
    faults.push(`${at(offset)}: ${path.join('.') || 'The file'} ${message}.`);

  /** Checks a node, and everything below it. @param offset the place of its key */
  function check(given: unknown, shape: Shape, path: string[], offset: number): void {
    const node = isAlias(given) ? given.resolve(document) : given;
    places.set(path.join('.'), `${at(offset)}: ${path.join('.')}`);
    if (!isMap(node) || (shape.keys === undefined && shape.entries === undefined)) {
      const value: unknown = (node as Node | null)?.toJS(document) ?? null;
      const message = shape.value === undefined ? 'must be a mapping' : shape.value(value);
      if (message !== undefined) fault(offset, path, message);
      return;
    }
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : '';
      const from = (key as Node | null)?.range?.[0] ?? offset;
      const below = shape.entries ?? shape.keys?.[name];
      if (below === undefined)
        fault(from, path, `has no key ${name}: its keys are ${Object.keys(shape.keys ?? {}).join(', ')}`);
      else check(value, below, [...path, name], from);
    }
  }

  if (faults.length === 0) check(document.contents, CONFIGURATION, [], 0);
  if (faults.length > 0) throw new Failure('FILE_REFUSED', 'permanent', faults.join(' '));
  return {
    // The shape above has checked it.
    configuration: document.toJS() as Configuration,
    placeOf: (section, name) => places.get(`${section}.${name}`) ?? label,
  };
}

async function contentOf(file: string): Promise<string> {
  if (file === '-') return readInput();
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new Failure('FILE_REFUSED', 'permanent', `Cannot read ${file}: ${errorSentence(cause)}.`, {
      cause,
    });
  }
}

function must(what: string, passes: (value: unknown) => boolean): Check {
  return (value) => (passes(value) ? undefined : `must ${what}`);
}
