import { Body, Controller, Delete, Get, HttpCode, Param, Put, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { RepositoryView } from '#contracts';
import { Access } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Documented } from '../docs/documented.js';
import { nothing, validated } from '../http/validation.js';
import * as docs from './repositories.docs.js';
import { Repositories } from './repositories.js';
import { repositoryRequest } from './repository-request.js';

@Controller('repo/v1/repositories')
export class RepositoriesController {
  constructor(private readonly repositories: Repositories) {}

  /** Needs everything, because it decides which database backups read and restores replace. */
  @Access({ needs: 'everything', audit: 'repository.set' })
  @Documented(docs.putRepository, { body: repositoryRequest })
  @Put(':name')
  async put(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RepositoryView> {
    const account = callerOf(request).email;
    const isNew = await this.repositories.put(name, validated(repositoryRequest, body), account);
    void reply.status(isNew ? 201 : 200);
    return this.repositories.view(name);
  }

  @Access({ needs: 'read' })
  @Documented(docs.listRepositories, { query: nothing })
  @Get()
  async list(@Query() query: unknown): Promise<{ repositories: RepositoryView[] }> {
    validated(nothing, query);
    return { repositories: await this.repositories.list() };
  }

  @Access({ needs: 'read' })
  @Documented(docs.showRepository, { query: nothing })
  @Get(':name')
  show(@Param('name') name: string, @Query() query: unknown): Promise<RepositoryView> {
    validated(nothing, query);
    return this.repositories.view(name);
  }

  @Access({ needs: 'everything', audit: 'repository.delete' })
  @Documented(docs.removeRepository)
  @Delete(':name')
  @HttpCode(204)
  remove(@Param('name') name: string): Promise<void> {
    return this.repositories.remove(name);
  }
}
