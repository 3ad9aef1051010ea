import { Controller, Delete, Get, HttpCode, Param, Query, Req } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { DaemonStatus, KeptDatabaseView } from '#contracts';
import { KeptDatabases } from '#queue';
import { Access } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Daemons, shownTo } from '../daemons/daemons.js';
import { Documented } from '../docs/documented.js';
import { nothing, validated } from '../http/validation.js';
import * as docs from './databases.docs.js';
import { viewOf } from './view.js';

/** The databases that restores with `swap` have kept. */
@Controller('repo/v1/databases')
export class DatabasesController {
  constructor(
    private readonly kept: KeptDatabases,
    private readonly daemons: Daemons,
  ) {}

  @Access({ needs: 'read' })
  @Documented(docs.listDatabases, { query: nothing })
  @Get()
  async list(@Query() query: unknown): Promise<{ databases: KeptDatabaseView[] }> {
    validated(nothing, query);
    const databases = await this.kept.list();
    return { databases: databases.map(viewOf) };
  }

  /** A job, because no API connects to the repository's server. */
  @Access({ needs: 'everything', audit: 'database.drop' })
  @Documented(docs.dropDatabase, { query: nothing })
  @Delete(':name')
  @HttpCode(202)
  async drop(
    @Param('name') name: string,
    @Query() query: unknown,
    @Req() request: FastifyRequest,
  ): Promise<DaemonStatus> {
    validated(nothing, query);
    const status = await this.daemons.startDrop(callerOf(request).email, name);
    request.made = status.id;
    return shownTo(request, status);
  }
}
