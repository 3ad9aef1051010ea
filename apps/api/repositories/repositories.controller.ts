import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { RepositoryChanges, RepositoryIdentity, RepositoryView } from '#contracts';
import { Access } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Documented } from '../docs/documented.js';
import { nothing, validated } from '../http/validation.js';
import { acceptedDatabase } from '../workers/workers.controller.js';
import { identityRequest } from '../workers/workers.docs.js';
import { Workers } from '../workers/workers.js';
import * as docs from './repositories.docs.js';
import { Repositories } from './repositories.js';
import { repositoryRequest } from './repository-request.js';

@Controller('repo/v1/repositories')
export class RepositoriesController {
  constructor(
    private readonly repositories: Repositories,
    private readonly workers: Workers,
  ) {}

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

  /** Needs everything, because it tells whether a URL is the present one. */
  @Access({ needs: 'everything' })
  @Documented(docs.compareRepository, { body: repositoryRequest })
  @Post(':name/changes')
  @HttpCode(200)
  changes(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
  ): Promise<RepositoryChanges> {
    return this.repositories.changes(name, validated(repositoryRequest, body), callerOf(request).email);
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

  @Access({ needs: 'read' })
  @Documented(docs.showIdentity)
  @Get(':name/identity')
  async identity(@Param('name') name: string): Promise<RepositoryIdentity> {
    await this.repositories.view(name);
    return this.workers.identity(name);
  }

  /** Needs everything, because it decides which database backups read and restores replace. */
  @Access({ needs: 'everything', audit: 'repository.accept', subject: acceptedDatabase })
  @Documented(docs.acceptIdentity, { body: identityRequest })
  @Put(':name/identity')
  async accept(@Param('name') name: string, @Body() body: unknown): Promise<RepositoryIdentity> {
    const { moved, ...identity } = validated(identityRequest, body);
    await this.repositories.view(name);
    return this.workers.accept(identity, moved, name);
  }

  @Access({ needs: 'everything', audit: 'repository.delete' })
  @Documented(docs.removeRepository)
  @Delete(':name')
  @HttpCode(204)
  remove(@Param('name') name: string): Promise<void> {
    return this.repositories.remove(name);
  }
}
