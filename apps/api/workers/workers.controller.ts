import { Body, Controller, Get, Put, Query } from '@nestjs/common';
import { z } from 'zod';
import type { RepositoryIdentity, WorkerView } from '#contracts';
import { Documented } from '../docs/documented.js';
import { validated } from '../http/validated.js';
import { identityRequest } from './identity-request.js';
import * as docs from './workers.docs.js';
import { Workers } from './workers.js';

const nothing = z.strictObject({});

/** The workers, and the database that they work for. */
@Controller('repo/v1')
export class WorkersController {
  constructor(private readonly workers: Workers) {}

  @Documented(docs.listWorkers, { query: nothing })
  @Get('workers')
  async list(@Query() query: unknown): Promise<{ workers: WorkerView[] }> {
    validated(nothing, query);
    return { workers: await this.workers.list() };
  }

  @Documented(docs.showIdentity)
  @Get('repository/identity')
  identity(): Promise<RepositoryIdentity> {
    return this.workers.identity();
  }

  @Documented(docs.acceptIdentity, { body: identityRequest })
  @Put('repository/identity')
  accept(@Body() body: unknown): Promise<RepositoryIdentity> {
    const { moved, ...identity } = validated(identityRequest, body);
    return this.workers.accept(identity, moved);
  }
}
