import type { AttemptNotes, Journal, Progress, RepositoryCheck, RestorePreview } from '#contracts';
import { type Scope, scopeOf, Secret } from '#config';
import { Keys } from '#keys';
import {
  backup,
  type BackupRequest,
  type BackupResult,
  type BuildRequest,
  check,
  type CheckRequest,
  type PreviewRequest,
  previewRestore,
  drill,
  type DrillResult,
  recover,
  type RecoverRequest,
  type RecoverResult,
  restore,
  type RestoreRequest,
  type RestoreResult,
  verify,
  type VerifyRequest,
  type VerifyResult,
} from '#engine';
import { openArchive } from '#archive';
import type { ObjectStore } from '#storage';

/** A journal in memory. */
export class MemoryJournal implements Journal {
  readonly lines: Progress[] = [];
  notes: AttemptNotes = { archives: [], sessions: [] };
  onReport: (progress: Progress) => void = () => {};

  readonly report = (progress: Progress) => {
    this.lines.push(progress);
    this.onReport(progress);
  };

  async note(change: Partial<AttemptNotes>): Promise<void> {
    this.notes = { ...this.notes, ...change };
  }

  async isOvertaken(): Promise<boolean> {
    return false;
  }

  get messages(): string[] {
    return this.lines.map(({ message }) => message);
  }
}

/** The keys that sign verification records. */
export const heartKeys = new Keys([new Secret('ab'.repeat(32))]);

/** The result of a backup, with its omissions by name. */
export type NamedBackup = Omit<BackupResult, 'omissions'> & { omissions: string[] };

/** Runs a backup by the engine alone, without the API and the queue. */
export async function runBackup(
  store: ObjectStore,
  url: string,
  schemas: string[] | '*' | Scope,
  more: Partial<BackupRequest> = {},
): Promise<NamedBackup> {
  const result = await backup({ ...common(store, url, schemas), ...more });
  return { ...result, omissions: result.omissions.map(({ what }) => what) };
}

export function runRestore(
  store: ObjectStore,
  url: string,
  schemas: string[] | '*' | Scope,
  key: string,
  more: Partial<RestoreRequest> = {},
): Promise<RestoreResult> {
  return restore({
    ...common(store, url, schemas),
    key,
    allowExtraTables: false,
    fireEventTriggers: false,
    backupFirst: false,
    // Tests restore into any database.
    otherDatabase: true,
    ...more,
  });
}

export function runVerify(
  store: ObjectStore,
  url: string,
  schemas: string[] | '*' | Scope,
  key: string,
  more: Partial<VerifyRequest> = {},
): Promise<VerifyResult> {
  return verify({
    ...common(store, url, schemas),
    key,
    keys: heartKeys,
    allowExtraTables: false,
    fireEventTriggers: false,
    level: 'FIT',
    // Tests drill as superusers on servers of their own.
    drillServer: { url: new Secret(url), parallelJobs: 2 },
    drillAsSuperuser: true,
    otherDatabase: true,
    ...more,
  });
}

/** Checks a repository by the engine alone. */
export function runCheck(
  store: ObjectStore,
  url: string,
  more: Partial<CheckRequest> = {},
): Promise<RepositoryCheck> {
  return check({ ...common(store, url, '*'), name: 'default', definitions: 'auto', ...more });
}

/** Previews a restore by the engine alone. */
export function runPreview(
  store: ObjectStore,
  url: string,
  schemas: string[] | '*' | Scope,
  key: string,
  more: Partial<PreviewRequest> = {},
): Promise<RestorePreview> {
  return previewRestore({
    ...common(store, url, schemas),
    name: 'default',
    key,
    url: store.url(key),
    allowExtraTables: false,
    fireEventTriggers: false,
    otherDatabase: true,
    ...more,
  });
}

/** Recovers an archive into a new database of a server. */
export async function runRecover(
  store: ObjectStore,
  server: string,
  key: string,
  database: string,
  more: Partial<RecoverRequest> = {},
): Promise<RecoverResult> {
  return recover({ ...(await buildRequest(store, server, key, more)), database, ...more });
}

/** Recovers an archive into a scratch database of a server, and drops it. */
export async function runDrill(
  store: ObjectStore,
  server: string,
  key: string,
  more: Partial<BuildRequest> = {},
): Promise<DrillResult> {
  return drill({ ...(await buildRequest(store, server, key, more)), ...more });
}

async function buildRequest(
  store: ObjectStore,
  server: string,
  key: string,
  { signal = new AbortController().signal }: { signal?: AbortSignal },
): Promise<BuildRequest> {
  const object = await store.find(key, signal);
  if (object === undefined) throw new Error(`no archive ${key}`);
  return {
    archive: await openArchive(store.openListed(object, signal)),
    maintenanceUrl: new Secret(server),
    parallelJobs: 2,
    applicationName: 'snapshotd recover 1',
    journal: new MemoryJournal(),
    signal,
  };
}

function asScope(schemas: string[] | '*' | Scope): Scope {
  return schemas === '*' || Array.isArray(schemas) ? scopeOf(schemas) : schemas;
}

function common(store: ObjectStore, url: string, schemas: string[] | '*' | Scope): BackupRequest {
  return {
    daemonId: '1',
    version: '0.0.0',
    repository: { url: new Secret(url), scope: asScope(schemas), retryForMs: 0, lockTimeoutMs: 60_000 },
    store,
    keyPrefix: '',
    compressionLevel: 1,
    // A dump takes longer than all else of a small backup.
    definitions: 'off',
    lockWaitMs: 600_000,
    excludeLargeObjects: false,
    parallelJobs: 2,
    // Small enough that small tables are split and read in parallel, too.
    chunkBytes: 64 * 1024,
    journal: new MemoryJournal(),
    finishLater: () => undefined,
    signal: new AbortController().signal,
  };
}
