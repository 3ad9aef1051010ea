import { Body, Controller, Get, Put, Query } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { RepositoryIdentity } from '#contracts';
import { Access } from '../access/access.decorator.js';
import { Documented } from '../docs/documented.js';
import { nothing, validated } from '../http/validation.js';
import * as docs from './workers.docs.js';
import { type WorkerList, Workers } from './workers.js';

/** The workers, and the database that they back up. */
@Controller('repo/v1')
export class WorkersController {
  constructor(private readonly workers: Workers) {}

  @Access({ needs: 'read' })
  @Documented(docs.listWorkers, { query: nothing })
  @Get('workers')
  list(@Query() query: unknown): Promise<WorkerList> {
    validated(nothing, query);
    return this.workers.list();
  }

  @Access({ needs: 'read' })
  @Documented(docs.showIdentity)
  @Get('repository/identity')
  identity(): Promise<RepositoryIdentity> {
    return this.workers.identity();
  }

  /** Needs everything, because it decides which database backups read and restores replace. */
  @Access({ needs: 'everything', audit: 'repository.accept', subject: acceptedDatabase })
  @Documented(docs.acceptIdentity, { body: docs.identityRequest })
  @Put('repository/identity')
  accept(@Body() body: unknown): Promise<RepositoryIdentity> {
    const { moved, ...identity } = validated(docs.identityRequest, body);
    return this.workers.accept(identity, moved);
  }
}

/** @returns undefined if the call was refused before its body was read */
export function acceptedDatabase({ body }: FastifyRequest): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const { systemIdentifier, databaseOid, databaseName } = body as Record<string, unknown>;
  return [databaseName, systemIdentifier, databaseOid].map(String).join(' ');
}
