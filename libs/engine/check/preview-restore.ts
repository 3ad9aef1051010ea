import { addAbortListener } from 'node:events';
import { type ManifestTable, openArchive, type OpenArchive } from '#archive';
import { errorSentence, summarizeOmissions } from '#common';
import { scopeOf } from '#config';
import type { RestorePreview } from '#contracts';
import {
  databaseIdentity,
  displayTable,
  expectOwnBackend,
  findMembers,
  listTables,
  type Relation,
  serverAddress,
  type Session,
  type Table,
} from '#postgres';
import type { ObjectStore } from '#storage';
import { describeTarget } from '../restore/describe-target.js';
import { chooseTables, type TableMapping, tableMapping } from '../restore/table-mapping.js';
import { findStored } from '../shared/archive-source.js';
import { openSession } from '../shared/repository-session.js';
import { RowProgress } from '../shared/row-progress.js';
import { LIMITS } from './check-database.js';
import { foreseeInPlace, foreseeRecover, type Foreseen, type ForeseeRequest } from './foresee.js';
import { Refusals } from './refusals.js';

export interface PreviewRequest extends ForeseeRequest {
  /** The repository's name. */
  name: string;
  store: ObjectStore;
  /** The archive's key, and its address for people. */
  key: string;
  url: string;
}

/** The most tables, objects or columns that a preview lists. */
const MOST = 2_000;

/** Measured on two cores with PostgreSQL and the store on the same two: docs/performance.md. */
const [RESTORED_BYTES, RESTORED_ROWS, BACKED_UP_BYTES] = [40_000_000, 140_000, 75_000_000];
const SECONDS_PER_TABLE = 0.01;

/**
 * Finds out what a restore would do now, and every reason for which it would be refused. Changes nothing and counts no rows:
 * its queries name only the catalog.
 * @throws the signal's reason; errors that are no Failure
 */
export async function previewRestore(request: PreviewRequest): Promise<RestorePreview> {
  const { name, url, key, repository, signal } = request;
  const store = request.store.withoutRetries();
  const refusals = new Refusals(signal);
  const archive = await refusals.tryOut(async () =>
    openArchive(store.openListed(await findStored(store, key, signal), signal)),
  );
  const chosen =
    archive === undefined
      ? []
      : ((await refusals.tryOut(() => chooseTables(archive.manifest, request))) ?? []);
  const mapping =
    (await refusals.tryOut(() => tableMapping(request, chosen))) ?? ((relation: Relation) => relation);
  const here = await refusals.tryOut(() => lookAtDatabase(request, archive, { chosen, mapping }, refusals));
  const { target, foreseen, live = [] } = here ?? {};
  const suspended = foreseen?.suspended ?? [];
  const columns = foreseen?.columns ?? [];
  const rowsNow = new Map(live.map((table) => [displayTable(table), table.estimatedRows]));
  const tables = chosen.map((table) => {
    const into = displayTable(mapping(table));
    const { schema, rows } = table;
    return { schema, name: table.name, into, archive: rows, estimatedNow: rowsNow.get(into) ?? null };
  });
  const known = tables.flatMap(({ estimatedNow }) => estimatedNow ?? []);
  return {
    repository: name,
    plannedOn: Date.now(),
    archive: url,
    takenOn: archive === undefined ? null : Date.parse(archive.manifest.takenAt),
    summary:
      archive === undefined
        ? 'The archive cannot be restored'
        : describeTarget(chosen, request, repository.url, target?.database),
    target: target ?? null,
    rows: {
      archive: sum(chosen),
      estimatedNow: known.length === 0 ? null : known.reduce((all, one) => all + one),
    },
    tables: { total: tables.length, listed: tables.slice(0, MOST) },
    suspended: { total: suspended.length, listed: suspended.slice(0, MOST) },
    columns: { total: columns.length, listed: columns.slice(0, MOST) },
    omissions: summarizeOmissions(archive?.manifest.leftOut ?? []),
    warnings: foreseen?.warnings ?? [],
    estimatedSeconds: secondsFor(chosen, request.backupFirst === true),
    refusals: refusals.all.map((failure) => ({ code: failure.code, message: errorSentence(failure) })),
  };
}

interface Found {
  target: RestorePreview['target'];
  foreseen: Foreseen | undefined;
  /** The tables that the rows go to, as far as they exist. */
  live: Table[];
}

async function lookAtDatabase(
  request: PreviewRequest,
  archive: OpenArchive | undefined,
  { chosen, mapping }: { chosen: ManifestTable[]; mapping: TableMapping },
  refusals: Refusals,
): Promise<Found> {
  const { repository, signal, intoDatabase, swap } = request;
  const session = await openSession({
    repository: { ...repository, retryForMs: 0 },
    applicationName: 'snapshotd check',
    progress: new RowProgress(() => undefined),
    signal,
  });
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    await session.query(LIMITS);
    const url = repository.url.reveal();
    await refusals.tryOut(() =>
      expectOwnBackend(session.client, url, repository.urlName ?? 'REPOSITORY_URL'),
    );
    const { databaseName, systemIdentifier } = await databaseIdentity(session);
    const target = { database: intoDatabase ?? databaseName, ...serverAddress(url), systemIdentifier };
    if (archive === undefined) return { target, foreseen: undefined, live: [] };
    const replaced = intoDatabase === undefined || swap === true;
    const live = replaced ? await liveTables(session, chosen.map(mapping)) : [];
    const foreseen =
      intoDatabase === undefined
        ? await foreseeInPlace(session, archive, request, live, refusals)
        : await foreseeRecover(session, archive, { ...request, intoDatabase }, databaseName, refusals);
    return { target: { ...target, ...(swap === true && { database: databaseName }) }, foreseen, live };
  } finally {
    await session.close();
  }
}

/** The live tables of these names. */
async function liveTables(session: Session, wanted: Relation[]): Promise<Table[]> {
  const names = new Set(wanted.map(displayTable));
  const members = await findMembers(session, scopeOf([...new Set(wanted.map(({ schema }) => schema))]));
  return (await listTables(session, members)).filter((table) => names.has(displayTable(table)));
}

function sum(tables: ManifestTable[]): number {
  return tables.reduce((total, { rows }) => total + rows, 0);
}

function secondsFor(tables: ManifestTable[], backupFirst: boolean): number {
  const bytes = tables.flatMap(({ entries }) => entries).reduce((total, { length }) => total + length, 0);
  const load = Math.max(bytes / RESTORED_BYTES, sum(tables) / RESTORED_ROWS);
  const backup = backupFirst ? bytes / BACKED_UP_BYTES : 0;
  return Math.ceil(load + backup + tables.length * SECONDS_PER_TABLE);
}
