import {
  Body,
  Controller,
  Get,
  Param,
  Post,
  Query,
  Req,
  Res,
  ServiceUnavailableException,
} from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PageAccess } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { listQuery } from '../archives/archives.docs.js';
import { Archives } from '../archives/archives.js';
import { Checks } from '../checks/checks.js';
import { type RestoreRequest, restoreRequest, verifyRequest } from '../daemons/daemon-requests.js';
import { Daemons } from '../daemons/daemons.js';
import { validated } from '../http/validation.js';
import { allTicked, expectConfirmed, filled, lines, startOf, text } from './forms.js';
import { Repositories } from '../repositories/repositories.js';
import { type Fault, faultOf, Pages, redirectTo } from './pages.js';

/** The options of a restore in place that are off until they are ticked. */
const IN_PLACE = [
  'keepViolations',
  'removeExtraLargeObjects',
  'allowExtraTables',
  'allowExtraColumns',
  'fireEventTriggers',
] as const;

/** The form of a restore. */
interface RestoreForm {
  repository: string;
  otherDatabase: boolean;
  into: 'tables' | 'database';
  intoDatabase: string;
  swap: boolean;
  owners: string;
  ticked: Record<(typeof IN_PLACE)[number] | 'backupFirst', boolean>;
  tables: string;
  dropColumns: string;
}

/** The archives: list, details, verification, restore, download and deletion. */
@ApiExcludeController()
@Controller('admin/archives')
export class ArchivePagesController {
  constructor(
    private readonly pages: Pages,
    private readonly archives: Archives,
    private readonly daemons: Daemons,
    private readonly checks: Checks,
    private readonly repositories: Repositories,
  ) {}

  @PageAccess()
  @Get()
  async list(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { limit, offset, repository } = validated(listQuery, filled(query));
    const { backups, total } = await this.archives.list(limit, offset, repository);
    const path = '/admin/archives';
    this.pages.show(request, reply, {
      view: 'archives',
      title: 'Archives',
      section: 'archives',
      data: {
        ...{ backups, path, names: await this.repositories.names() },
        pager: { path, query: { repository }, limit, offset, total },
      },
    });
  }

  @PageAccess()
  @Get(':name')
  async show(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'archive',
      title: name,
      section: 'archives',
      data: { archive: await this.archives.details(name) },
    });
  }

  @PageAccess({ audit: 'verify.start' })
  @Post(':name/verify')
  async verify(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { url } = await this.archives.details(name);
    const { id } = await this.daemons.startVerify(
      startOf(request, body),
      validated(verifyRequest, {
        url,
        level: text(body, 'level'),
        ...allTicked(body, 'allowExtraTables', 'allowExtraColumns', 'fireEventTriggers', 'otherDatabase'),
        dropColumns: lines(text(body, 'dropColumns')),
      }),
    );
    request.made = id;
    redirectTo(reply, `/admin/daemons/${id}`, 'verification-started');
  }

  @PageAccess()
  @Get(':name/restore')
  askToRestore(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.restoreForm(request, reply, name, {
      ...{ repository: '', otherDatabase: false, into: 'tables' },
      ...{ intoDatabase: '', swap: false, owners: '' },
      ...{ ticked: { ...allTicked({}, ...IN_PLACE), backupFirst: true }, tables: '', dropColumns: '' },
    });
  }

  /** Shows what the restore would replace. Only then it can be confirmed. */
  @PageAccess({ audit: 'restore.plan' })
  @Post(':name/restore/plan')
  async planRestore(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const given = restoreFormOf(body);
    try {
      return await this.restorePlan(request, reply, name, given);
    } catch (error) {
      return this.restoreForm(request, reply, name, given, faultOf(error));
    }
  }

  @PageAccess({ audit: 'restore.start' })
  @Post(':name/restore')
  async restore(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const given = restoreFormOf(body);
    try {
      expectConfirmed(body, text(body, 'database') || name);
      const { id } = await this.daemons.startRestore(
        startOf(request, body),
        await this.requestOf(name, given),
      );
      request.made = id;
      redirectTo(reply, `/admin/daemons/${id}`, 'restore-started');
    } catch (error) {
      return this.restoreForm(request, reply, name, given, faultOf(error));
    }
  }

  /** Redirects to the object store, as the API does. */
  @PageAccess({ audit: 'archive.download' })
  @Get(':name/download')
  async download(@Param('name') name: string, @Res() reply: FastifyReply): Promise<void> {
    void reply.redirect(await this.archives.downloadUrl(name), 302);
  }

  @PageAccess()
  @Get(':name/delete')
  askToDelete(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.deleteForm(request, reply, name);
  }

  @PageAccess({ audit: 'archive.delete' })
  @Post(':name/delete')
  async delete(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    try {
      expectConfirmed(body, name);
      await this.archives.delete(name);
      redirectTo(reply, '/admin/archives', 'archive-deleted');
    } catch (error) {
      return this.deleteForm(request, reply, name, faultOf(error));
    }
  }

  private async requestOf(name: string, given: RestoreForm): Promise<RestoreRequest> {
    const { url } = await this.archives.details(name);
    return validated(restoreRequest, restoreRequestOf(url, given));
  }

  /** @throws ServiceUnavailableException if no worker answers in time */
  private async restorePlan(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    given: RestoreForm,
  ): Promise<void> {
    const { email } = callerOf(request);
    const { restorePlan: plan } = await this.checks.restorePlan(email, await this.requestOf(name, given));
    if (plan === undefined)
      throw new ServiceUnavailableException(
        'No worker has answered within 20 seconds, so nobody can tell what the restore would replace. Start a worker, and try again.',
      );
    this.pages.show(request, reply, {
      view: 'restore-plan',
      title: `Restore ${name}`,
      section: 'archives',
      data: { archive: await this.archives.details(name), given, plan },
    });
  }

  private async restoreForm(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    given: RestoreForm,
    fault?: Fault,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'restore',
      title: `Restore ${name}`,
      section: 'archives',
      data: { archive: await this.archives.details(name), given, names: await this.repositories.names() },
      fault,
    });
  }

  private async deleteForm(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    fault?: Fault,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'delete-archive',
      title: `Delete ${name}`,
      section: 'archives',
      data: { archive: await this.archives.details(name) },
      fault,
    });
  }
}

function restoreFormOf(body: unknown): RestoreForm {
  return {
    repository: text(body, 'repository'),
    into: text(body, 'into') === 'database' ? 'database' : 'tables',
    intoDatabase: text(body, 'intoDatabase').trim(),
    owners: text(body, 'owners'),
    ...allTicked(body, 'otherDatabase', 'swap'),
    ticked: allTicked(body, 'backupFirst', ...IN_PLACE),
    tables: text(body, 'tables'),
    dropColumns: text(body, 'dropColumns'),
  };
}

/** The request to the API: the options of the chosen kind of restore only. */
function restoreRequestOf(url: string, given: RestoreForm): Record<string, unknown> {
  const { repository, into, otherDatabase, intoDatabase, swap, owners } = given;
  const target = { url, otherDatabase, ...(repository !== '' && { repository }) };
  if (into === 'tables')
    return {
      ...target,
      ...given.ticked,
      tables: lines(given.tables),
      dropColumns: lines(given.dropColumns),
    };
  const owner = owners === 'createRoles' || owners === 'noOwner' ? { [owners]: true } : {};
  return { ...target, intoDatabase, swap, ...owner };
}
