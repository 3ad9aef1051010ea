import { dirname, isAbsolute, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterBackupOf, Failure } from '#common';
import {
  DEFAULT_REPOSITORY,
  type RepositoryView,
  type Retention,
  type ScheduleRequest,
  type ScheduleView,
} from '#contracts';
import type { Api, RepositorySettings } from '../api.js';
import { readVariable } from '../environment.js';
import { formatTarget } from '../format.js';
import { readSecret } from '../secret-source.js';
import type { ConfigurationFile, DeclaredRepository, DeclaredSecret } from './configuration-file.js';

export interface FieldChange {
  field: string;
  from: unknown;
  to: unknown;
}

/** A change of one thing. */
export interface Change {
  action: 'create' | 'change' | 'delete';
  kind: 'repository' | 'schedule';
  name: string;
  /** The fields that change. URLs are shown without passwords. */
  fields: FieldChange[];
}

export interface Step {
  change: Change;
  /** @throws Failure that names the place in the file */
  run: () => Promise<unknown>;
}

export interface PlanOptions {
  /** The path of the file: secrets in files are beside it. */
  file: string;
  /** Whether to delete things that the file does not declare. */
  prune: boolean;
  note: (text: string) => void;
}

/**
 * Compares a file with the server. It changes nothing.
 * @returns the steps, in the order to take them
 * @throws Failure FILE_REFUSED, USAGE_WRONG, REQUEST_REFUSED that names the place in the file
 */
export async function planOf(api: Api, declared: ConfigurationFile, options: PlanOptions): Promise<Step[]> {
  const { repositories: present } = await api.repositories();
  const { schedules } = await api.schedules();
  const { configuration } = declared;
  const repositorySteps: Step[] = [];
  for (const [name, repository] of Object.entries(configuration.repositories ?? {})) {
    const place = declared.placeOf('repositories', name);
    const before = find(present, name);
    repositorySteps.push(
      ...(await inPlace(place, () => repositoryStep(api, place, name, repository, before, options))),
    );
  }
  const gone = (section: 'repositories' | 'schedules', all: { name: string }[]) => {
    const kept = configuration[section];
    return !options.prune || kept === undefined ? [] : all.filter(({ name }) => !Object.hasOwn(kept, name));
  };
  const goneRepositories = gone('repositories', present).filter(({ name }) => name !== DEFAULT_REPOSITORY);
  const known = new Set([
    ...present.map(({ name }) => name),
    ...Object.keys(configuration.repositories ?? {}),
  ]);
  for (const { name } of goneRepositories) known.delete(name);
  return [
    ...repositorySteps,
    ...Object.entries(configuration.schedules ?? {}).flatMap(([name, schedule]) =>
      scheduleStep(api, declared.placeOf('schedules', name), name, schedule, find(schedules, name), known),
    ),
    ...gone('schedules', schedules).map(({ name }): Step => ({
      change: { action: 'delete', kind: 'schedule', name, fields: [] },
      run: () => api.deleteSchedule(name),
    })),
    ...goneRepositories.map(({ name }): Step => ({
      change: { action: 'delete', kind: 'repository', name, fields: [] },
      run: () => api.deleteRepository(name),
    })),
  ];
}

async function repositoryStep(
  api: Api,
  place: string,
  name: string,
  { url: declaredUrl, drillUrl: declaredDrillUrl = null, ...settings }: DeclaredRepository,
  before: RepositoryView | undefined,
  options: PlanOptions,
): Promise<Step[]> {
  const url = declaredUrl && (await secretOf(declaredUrl, `${name} keeps its URL`, before?.target, options));
  const drillUrl =
    declaredDrillUrl &&
    (await secretOf(declaredDrillUrl, `${name} keeps its URL for drills`, before?.drillTarget, options));
  const request: RepositorySettings = {
    ...settings,
    ...(url !== undefined && { url }),
    ...(drillUrl !== undefined && { drillUrl }),
  };
  const { isNew, changes, repository: after } = await api.repositoryChanges(name, request);
  if (!isNew && changes.length === 0) return [];
  const fields = changes.flatMap((field): FieldChange[] => {
    if (field === 'url') return [urlChange(field, before?.target, after.target)];
    if (field === 'drillUrl') return [urlChange(field, before?.drillTarget, after.drillTarget)];
    const to = after[field];
    const isPlain = before === undefined && (to === null || (Array.isArray(to) && to.length === 0));
    return isPlain ? [] : [{ field, from: before?.[field] ?? null, to }];
  });
  return [
    {
      change: { action: isNew ? 'create' : 'change', kind: 'repository', name, fields },
      run: () => inPlace(place, () => api.setRepository(name, request)),
    },
  ];
}

/**
 * Reads a secret. A variable that is not set keeps the present one, so that an export can be applied as it is.
 * @throws Failure USAGE_WRONG, FILE_REFUSED
 */
async function secretOf(
  declared: DeclaredSecret,
  keeps: string,
  present: RepositoryView['target'] | undefined,
  { file, note }: PlanOptions,
): Promise<string | undefined> {
  if (typeof declared === 'string') return declared;
  if (Object.keys(declared).length !== 1)
    throw new Failure('FILE_REFUSED', 'permanent', 'a URL is a text, {env: VARIABLE} or {file: PATH}.');
  if ('env' in declared) {
    if (present && readVariable(declared.env) === undefined) {
      note(`${declared.env} is not set: ${keeps}.`);
      return undefined;
    }
    return readSecret(declared);
  }
  const isBeside = file !== '-' && !isAbsolute(declared.file);
  return readSecret({ file: isBeside ? join(dirname(file), declared.file) : declared.file });
}

function urlChange(field: string, before: RepositoryView['target'] = null, after: RepositoryView['target']) {
  const from = before && formatTarget(before);
  const to = after && formatTarget(after);
  return { field, from, to: from === to ? `${to}, with another password or parameter` : to };
}

const SCHEDULE_FIELDS = ['repository', 'pattern', 'timeZone', 'then', 'retention', 'enabled'] as const;

function scheduleStep(
  api: Api,
  place: string,
  name: string,
  declared: Partial<ScheduleRequest>,
  before: ScheduleView | undefined,
  repositories: ReadonlySet<string>,
): Step[] {
  const { then = 'READ', retention = null, pattern, repository = DEFAULT_REPOSITORY, ...others } = declared;
  if (pattern === undefined) throw refused(place, 'needs a pattern.');
  for (const one of [repository, ...(typeof then === 'string' ? [] : [then.recoverInto])])
    if (!repositories.has(one)) throw refused(place, `there is no repository ${one}.`);
  const after = {
    timeZone: 'UTC',
    enabled: true,
    ...others,
    repository,
    pattern,
    then: typeof then === 'string' ? afterBackupOf(then) : then,
    retention,
  };
  const fields = SCHEDULE_FIELDS.flatMap((field): FieldChange[] => {
    const [from, to] =
      field === 'retention'
        ? [counted(before?.retention), counted(retention)]
        : [before?.[field] ?? null, after[field]];
    return isDeepStrictEqual(from, to) ? [] : [{ field, from, to }];
  });
  if (before !== undefined && fields.length === 0) return [];
  return [
    {
      change: { action: before === undefined ? 'create' : 'change', kind: 'schedule', name, fields },
      run: () => inPlace(place, () => api.setSchedule(name, after)),
    },
  ];
}

/** The counts above 0: the others mean the same as missing ones. */
function counted(retention: Retention | null = null): object | null {
  return retention && Object.fromEntries(Object.entries(retention).filter(([, kept = 0]) => kept > 0));
}

/** Names the place in the file that a call was made for. */
async function inPlace<Result>(place: string, call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    if (
      !(error instanceof Failure) ||
      (error.persistence === 'transient' && error.code !== 'REQUEST_REFUSED')
    )
      throw error;
    throw new Failure(error.code, error.persistence, `${place}: ${error.message}`, {
      cause: error,
      ...(error.hint !== undefined && { hint: error.hint }),
    });
  }
}

function refused(place: string, message: string): Failure {
  return new Failure('FILE_REFUSED', 'permanent', `${place}: ${message}`);
}

function find<Thing extends { name: string }>(things: Thing[], name: string): Thing | undefined {
  return things.find((thing) => thing.name === name);
}
