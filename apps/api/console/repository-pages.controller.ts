import { Body, ConflictException, Controller, Get, Param, Post, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DEFAULT_REPOSITORY, type RepositoryView } from '#contracts';
import { PageAccess } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { validated } from '../http/validation.js';
import { repositoryRequest } from '../repositories/repository-request.js';
import { Repositories } from '../repositories/repositories.js';
import { lines, text, ticked } from './forms.js';
import { type Fault, faultOf, Pages, redirectTo } from './pages.js';
import { part } from './words.js';

const LISTS = ['schemas', 'excludeSchemas', 'excludeTables', 'excludeTableRows'] as const;

/** The texts in the form of a repository. It never holds a URL: a URL that was typed is typed again. */
interface RepositoryForm extends Record<(typeof LISTS)[number], string> {
  name: string;
  jobs: string;
  definitions: string;
  prefix: string;
  adopt: boolean;
  forgetDrillUrl: boolean;
}

const NEW: RepositoryForm = {
  name: '',
  schemas: '*',
  ...{ excludeSchemas: '', excludeTables: '', excludeTableRows: '' },
  ...{ jobs: '', definitions: '', prefix: '', adopt: false, forgetDrillUrl: false },
};

/** The repositories: list, creation, change and deletion. */
@ApiExcludeController()
@Controller('admin')
export class RepositoryPagesController {
  constructor(
    private readonly pages: Pages,
    private readonly repositories: Repositories,
  ) {}

  @PageAccess()
  @Get('repositories')
  async list(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    this.pages.show(request, reply, {
      view: 'repositories',
      title: 'Repositories',
      section: 'repositories',
      data: { repositories: await this.repositories.list() },
    });
  }

  @PageAccess()
  @Get('new-repository')
  askForNew(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    this.newForm(request, reply, NEW);
  }

  @PageAccess({ audit: 'repository.set', subject: ({ body }) => text(body, 'name') })
  @Post('repositories')
  async create(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const name = text(body, 'name');
    try {
      const wanted = validated(repositoryRequest, requestOf(body));
      // put() would change the existing repository, which a form for a new one must not do.
      if ((await this.repositories.list()).some((repository) => repository.name === name))
        throw new ConflictException(
          'There is a repository of this name. Choose another name, or change that one.',
        );
      await this.repositories.put(name, wanted, callerOf(request).email);
    } catch (error) {
      return this.newForm(request, reply, formOf(body, name), faultOf(error));
    }
    redirectTo(reply, `/admin/repositories/${part(name)}`, 'repository-saved');
  }

  @PageAccess()
  @Get('repositories/:name')
  async show(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const repository = await this.repositories.view(name);
    this.form(request, reply, repository, formFor(repository));
  }

  @PageAccess({ audit: 'repository.set' })
  @Post('repositories/:name')
  async change(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const repository = await this.repositories.view(name);
    try {
      await this.repositories.put(
        name,
        validated(repositoryRequest, requestOf(body)),
        callerOf(request).email,
      );
    } catch (error) {
      return this.form(request, reply, repository, formOf(body, name), faultOf(error));
    }
    redirectTo(reply, `/admin/repositories/${part(name)}`, 'repository-saved');
  }

  @PageAccess()
  @Get('repositories/:name/delete')
  async askToDelete(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.deleteForm(request, reply, await this.repositories.view(name));
  }

  @PageAccess({ audit: 'repository.delete' })
  @Post('repositories/:name/delete')
  async delete(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const repository = await this.repositories.view(name);
    try {
      await this.repositories.remove(name);
    } catch (error) {
      return this.deleteForm(request, reply, repository, faultOf(error));
    }
    redirectTo(reply, '/admin/repositories', 'repository-deleted');
  }

  private newForm(request: FastifyRequest, reply: FastifyReply, given: RepositoryForm, fault?: Fault): void {
    this.pages.show(request, reply, {
      view: 'new-repository',
      title: 'New repository',
      section: 'repositories',
      data: { given },
      fault,
    });
  }

  private form(
    request: FastifyRequest,
    reply: FastifyReply,
    repository: RepositoryView,
    given: RepositoryForm,
    fault?: Fault,
  ): void {
    this.pages.show(request, reply, {
      view: 'repository',
      title: repository.name,
      section: 'repositories',
      data: { repository, given, isDefault: repository.name === DEFAULT_REPOSITORY },
      fault,
    });
  }

  private deleteForm(
    request: FastifyRequest,
    reply: FastifyReply,
    repository: RepositoryView,
    fault?: Fault,
  ): void {
    this.pages.show(request, reply, {
      view: 'delete-repository',
      title: `Delete ${repository.name}`,
      section: 'repositories',
      data: { repository },
      fault,
    });
  }
}

function formFor(repository: RepositoryView): RepositoryForm {
  const { name, jobs, definitions, prefix } = repository;
  return {
    ...NEW,
    ...ofLists((list) => repository[list].join('\n')),
    ...{ name, prefix, jobs: jobs === null ? '' : String(jobs), definitions: definitions ?? '' },
  };
}

function ofLists(
  textOf: (list: (typeof LISTS)[number]) => string,
): Pick<RepositoryForm, (typeof LISTS)[number]> {
  const [schemas, excludeSchemas, excludeTables, excludeTableRows] = LISTS;
  return {
    schemas: textOf(schemas),
    excludeSchemas: textOf(excludeSchemas),
    excludeTables: textOf(excludeTables),
    excludeTableRows: textOf(excludeTableRows),
  };
}

function formOf(body: unknown, name: string): RepositoryForm {
  return {
    ...NEW,
    ...ofLists((list) => text(body, list)),
    ...{ name, jobs: text(body, 'jobs'), definitions: text(body, 'definitions') },
    ...{ prefix: text(body, 'prefix'), adopt: ticked(body, 'adopt') },
    forgetDrillUrl: ticked(body, 'forgetDrillUrl'),
  };
}

/** The request to the API. Empty fields are missing: an existing repository keeps its URLs then. */
function requestOf(body: unknown): Record<string, unknown> {
  const [databaseUrl, drillUrl, jobs, definitions, prefix] = [
    ...(['databaseUrl', 'drillUrl', 'jobs', 'definitions', 'prefix'] as const),
  ].map((field) => text(body, field).trim() || undefined);
  const lists = LISTS.map((list) => [list, lines(text(body, list))] as const);
  return {
    ...Object.fromEntries(lists.filter(([, all]) => all !== undefined)),
    ...(databaseUrl !== undefined && { url: databaseUrl }),
    ...(drillUrl !== undefined && { drillUrl }),
    ...(ticked(body, 'forgetDrillUrl') && { drillUrl: null }),
    ...(jobs !== undefined && { jobs: Number(jobs) }),
    ...(definitions !== undefined && { definitions }),
    ...(prefix !== undefined && { prefix }),
    adopt: ticked(body, 'adopt'),
  };
}
