import {
  BadRequestException,
  ConflictException,
  Inject,
  Injectable,
  NotFoundException,
} from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { isDeepStrictEqual } from 'node:util';
import { IsNull, type EntityManager, Repository } from 'typeorm';
import { type Scope, Secret, SETTINGS, type Settings, targetOf } from '#config';
import { DEFAULT_REPOSITORY, REPOSITORY_NAME, type RepositoryChanges, type RepositoryView } from '#contracts';
import { Schedule, StoredRepository } from '#database';
import { Keys } from '#keys';
import { CheckRecords, type JobRepository, sealedUrlContext, WorkerRegistry } from '#queue';
import { ObjectStore } from '#storage';
import { inTime } from '../http/in-time.js';
import { Workers } from '../workers/workers.js';
import { overlap, RepositoryFolders } from './repository-folders.js';
import type { RepositoryRequest } from './repository-request.js';

/** The repositories: the default one of the settings, and those that administrators have added. */
@Injectable()
export class Repositories {
  constructor(
    @InjectRepository(StoredRepository) private readonly stored: Repository<StoredRepository>,
    @InjectRepository(Schedule) private readonly schedules: Repository<Schedule>,
    private readonly store: ObjectStore,
    private readonly registry: WorkerRegistry,
    private readonly checks: CheckRecords,
    private readonly workers: Workers,
    private readonly keys: Keys,
    @Inject(SETTINGS) private readonly settings: Settings,
  ) {}

  /**
   * Adds a repository, or changes the one of this name.
   * @returns whether it is new
   * @throws BadRequestException, ConflictException; Failure STORE_*; QueueUnavailable
   */
  async put(name: string, request: RepositoryRequest, account: string): Promise<boolean> {
    await this.expectAllowed(name, request);
    const isNew = await this.stored.manager.transaction(async (manager) => {
      // Two repositories must not get the same folder at once.
      await manager.query('LOCK TABLE snapshotd.repository IN SHARE ROW EXCLUSIVE MODE');
      const { before, row } = await this.prepared(manager, name, request, account);
      await manager.save(StoredRepository, row);
      return before === undefined;
    });
    // A URL may lead to another database, which has another identity. The next job records it.
    if (isNew || request.url !== undefined) await this.forget(name);
    return isNew;
  }

  /**
   * Tells what {@link put} would change, and changes nothing.
   * @throws BadRequestException, ConflictException; Failure STORE_*
   */
  async changes(name: string, request: RepositoryRequest, account: string): Promise<RepositoryChanges> {
    await this.expectAllowed(name, request);
    const { before, row } = await this.prepared(this.stored.manager, name, request, account);
    const was = before && viewOf(before);
    const repository = viewOf(row);
    const isKnown = (what: 'url' | 'drill url', url: string | null | undefined, sealed?: string | null) =>
      url === undefined ||
      (url === null
        ? (sealed ?? null) === null
        : this.keys.open(sealedUrlContext(name, what), sealed ?? '')?.reveal() === url);
    const changes = SHOWN_FIELDS.filter((field) => !isDeepStrictEqual(was?.[field], repository[field]));
    return {
      isNew: was === undefined,
      changes: [
        ...(isKnown('url', request.url, before?.sealedUrl) ? [] : (['url'] as const)),
        ...changes,
        ...(isKnown('drill url', request.drillUrl, before?.sealedDrillUrl) ? [] : (['drillUrl'] as const)),
      ],
      repository,
    };
  }

  /** The default repository first, then the others by name. */
  async list(): Promise<RepositoryView[]> {
    const rows = await this.stored.find({ where: { deletedOn: IsNull() }, order: { name: 'ASC' } });
    return [this.defaultView(), ...rows.map(viewOf)];
  }

  /** The names of all repositories, also of deleted ones, whose archives and jobs are still listed. */
  async names(): Promise<{ name: string; isDeleted: boolean }[]> {
    const rows = await this.stored.find({ select: { name: true, deletedOn: true }, order: { name: 'ASC' } });
    return [
      { name: DEFAULT_REPOSITORY, isDeleted: false },
      ...rows.map(({ name, deletedOn }) => ({ name, isDeleted: deletedOn !== null })),
    ];
  }

  /** @throws NotFoundException */
  async view(name: string): Promise<RepositoryView> {
    return name === DEFAULT_REPOSITORY ? this.defaultView() : viewOf(await this.find(name));
  }

  /**
   * Deletes a repository and its URLs. Its archives stay, and so does its folder's name.
   * @throws NotFoundException; ConflictException while schedules use it; QueueUnavailable
   */
  async remove(name: string): Promise<void> {
    if (name === DEFAULT_REPOSITORY) throw new ConflictException(DEFINED_BY_SETTINGS);
    await this.find(name);
    const users = await this.schedules.query<{ name: string }[]>(
      `SELECT name FROM snapshotd.schedule
        WHERE repository = $1 OR recover ->> 'recoverInto' = $1 ORDER BY name`,
      [name],
    );
    if (users.length > 0)
      throw new ConflictException(
        `The schedules ${users.map((schedule) => schedule.name).join(', ')} use it. Delete them first.`,
      );
    await this.stored.update({ name }, { sealedUrl: null, sealedDrillUrl: null, deletedOn: () => 'now()' });
    await this.forget(name);
  }

  /**
   * The repository as its jobs need it; undefined for the default one.
   * @param field the field of the request that names it.
   * @throws BadRequestException if there is none
   */
  async forJob(name: string, field = 'repository'): Promise<JobRepository | undefined> {
    if (name === DEFAULT_REPOSITORY) return undefined;
    const row = await this.stored.findOneBy({ name });
    if (row === null || row.sealedUrl === null)
      throw new BadRequestException(
        `${field}: there is no repository ${name}${row === null ? '' : ': it was deleted, and its archives are left. Name the repository to restore into'}.`,
      );
    const { sealedUrl, sealedDrillUrl, scope, prefix, jobs, definitions } = row;
    return {
      ...{ name, sealedUrl, scope, prefix },
      ...(sealedDrillUrl !== null && { sealedDrillUrl }),
      ...(jobs !== null && { jobs }),
      ...(definitions !== null && { definitions }),
    };
  }

  /** The folders of all repositories, also of deleted ones, whose archives stay theirs. */
  async folders(): Promise<RepositoryFolders> {
    const rows = await this.stored.find({ select: { name: true, prefix: true } });
    return new RepositoryFolders(this.settings.store.prefix, rows);
  }

  /** Forgets the facts about its database. */
  private async forget(name: string): Promise<void> {
    await this.registry.forget(name);
    await this.checks.forget(name);
  }

  private async find(name: string): Promise<StoredRepository> {
    const row = REPOSITORY_NAME.test(name)
      ? await this.stored.findOneBy({ name, deletedOn: IsNull() })
      : null;
    if (row === null) throw new NotFoundException('There is no repository of this name.');
    return row;
  }

  /** Checks the name, and the folder of a new repository. @throws BadRequestException, ConflictException; Failure STORE_* */
  private async expectAllowed(name: string, { prefix, adopt }: RepositoryRequest): Promise<void> {
    if (!REPOSITORY_NAME.test(name))
      throw new BadRequestException(
        'The name must have 1 to 40 of the characters a-z, 0-9, _ and -, and begin with a letter or a digit.',
      );
    if (name === DEFAULT_REPOSITORY) throw new ConflictException(DEFINED_BY_SETTINGS);
    const known = await this.stored.findOneBy({ name });
    if (known === null || known.deletedOn !== null)
      await this.expectEmpty(prefix ?? known?.prefix ?? `${name}/`, adopt);
  }

  /** The present row, unless it is deleted, and the one that the request asks for. @throws BadRequestException, ConflictException */
  private async prepared(
    manager: EntityManager,
    name: string,
    request: RepositoryRequest,
    account: string,
  ): Promise<{ before: StoredRepository | undefined; row: StoredRepository }> {
    const known = await manager.findOneBy(StoredRepository, { name });
    const prefix = request.prefix ?? known?.prefix ?? `${name}/`;
    await this.expectFree(manager, name, prefix, known);
    const before = known === null || known.deletedOn !== null ? undefined : known;
    return { before, row: this.changed(name, prefix, request, account, before) };
  }

  /** Refuses a folder with archives that nobody has adopted. @throws ConflictException; Failure STORE_* */
  private async expectEmpty(prefix: string, adopt: boolean): Promise<void> {
    const { prefix: base } = this.settings.store;
    if (base !== '' && !base.endsWith('/'))
      throw new ConflictException(
        `S3_PREFIX is ${base}, without a / at its end, so no folder lies below it. Set it to ${base}/ for further repositories.`,
      );
    if (adopt) return;
    const archive = await inTime(async (signal) => {
      for await (const { key } of this.store.list(base + prefix, signal))
        if (key.endsWith('.zip')) return key;
      return undefined;
    });
    if (archive !== undefined)
      throw new ConflictException(
        `The folder ${base}${prefix} holds archives already, such as ${archive}. Choose another name, or set adopt to true if they belong to this repository.`,
      );
  }

  /** @throws ConflictException */
  private async expectFree(
    manager: EntityManager,
    name: string,
    prefix: string,
    before: StoredRepository | null,
  ): Promise<void> {
    if (before !== null && before.prefix !== prefix)
      throw new ConflictException(
        `Its archives lie in ${before.prefix}: the prefix of a repository cannot change.`,
      );
    const rows = await manager.find(StoredRepository, { select: { name: true, prefix: true } });
    const other = rows.find((row) => row.name !== name && overlap(row.prefix, prefix));
    if (other !== undefined)
      throw new ConflictException(
        `The folder ${other.prefix} of the repository ${other.name} overlaps ${prefix}.`,
      );
  }

  private changed(
    name: string,
    prefix: string,
    { url, drillUrl, jobs, definitions, ...request }: RepositoryRequest,
    account: string,
    before: StoredRepository | undefined,
  ): StoredRepository {
    if (url === undefined && before === undefined)
      throw new BadRequestException('url: a new repository needs the URL of its database.');
    const row = Object.assign(new StoredRepository(), before);
    const { schemas, excludeSchemas, excludeTables, excludeTableRows } = request;
    const scope: Scope = {
      schemas: schemas.length === 1 && schemas[0] === '*' ? '*' : [...new Set(schemas)],
      ...{ excludeSchemas, excludeTables, excludeTableRows },
    };
    Object.assign(row, { name, prefix, scope, jobs, definitions });
    if (url !== undefined) {
      row.sealedUrl = this.sealed(name, 'url', url);
      row.target = targetOf(url);
    }
    if (typeof drillUrl === 'string') {
      row.sealedDrillUrl = this.sealed(name, 'drill url', drillUrl);
      row.drillTarget = targetOf(drillUrl);
    } else if (drillUrl === null || before === undefined) {
      row.sealedDrillUrl = null;
      row.drillTarget = null;
    }
    if (before === undefined)
      Object.assign(row, { createdBy: account, createdOn: new Date(), deletedOn: null });
    return row;
  }

  private sealed(name: string, what: 'url' | 'drill url', url: string): string {
    return this.keys.seal(sealedUrlContext(name, what), new Secret(url));
  }

  private defaultView(): RepositoryView {
    const { schemas, excludeSchemas, excludeTables, excludeTableRows } = this.settings.repository.scope;
    return {
      name: DEFAULT_REPOSITORY,
      target: this.workers.defaultTarget(),
      schemas: schemas === '*' ? ['*'] : schemas,
      ...{ excludeSchemas, excludeTables, excludeTableRows },
      ...{ jobs: null, definitions: null, drillTarget: null, prefix: '', createdBy: null, createdOn: null },
    };
  }
}

/** The fields that everybody may read. The view has the URLs without what is secret. */
const SHOWN_FIELDS = [
  'schemas',
  'excludeSchemas',
  'excludeTables',
  'excludeTableRows',
  'jobs',
  'definitions',
  'prefix',
] as const;

const DEFINED_BY_SETTINGS =
  'The settings of the workers define the repository default. Change REPOSITORY_URL and REPOSITORY_SCHEMAS there.';

function viewOf(row: StoredRepository): RepositoryView {
  const { name, target, scope, jobs, definitions, drillTarget, prefix, createdBy, createdOn } = row;
  return {
    ...{ name, target, ...scope, jobs, definitions, drillTarget, prefix, createdBy },
    schemas: scope.schemas === '*' ? ['*'] : scope.schemas,
    createdOn: createdOn.getTime(),
  };
}
