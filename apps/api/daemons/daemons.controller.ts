import {
  BadRequestException,
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Inject,
  NotFoundException,
  Param,
  Post,
  Query,
  Req,
  Res,
} from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { schemaNameFault, type Settings } from '#config';
import { DAEMON_STATES, DAEMON_TYPES, type DaemonStatus, type DaemonType, Failure } from '#contracts';
import { type ArchiveRequest, DaemonQueue } from '#queue';
import { archiveKey, ObjectStore } from '#storage';
import { mayStill } from '../auth/access.js';
import { Callers } from '../auth/callers.js';
import { Documented } from '../docs/documented.js';
import { isId } from '../http/ids.js';
import { page } from '../http/page.js';
import { validated } from '../http/validated.js';
import { SETTINGS } from '../settings.js';
import * as docs from './daemons.docs.js';
import { idempotencyKey } from './idempotency-key.js';
import { StatusStreams } from './status-streams.js';

const nothing = z.strictObject({});
const url = z.string('the url must be a text').min(1).max(2048);
const table = z.string('a table is a text such as "schema.table"').min(3).max(512);
const restoreRequest = z
  .strictObject({
    url,
    allowExtraTables: z.boolean().default(false),
    backupFirst: z.boolean().default(false),
    tables: z.array(table).min(1, 'name one table at least, or leave tables away for all').optional(),
    intoSchemas: z
      .record(z.string(), z.string().superRefine(schemaName))
      .refine((schemas) => Object.keys(schemas).length > 0, 'name one schema at least')
      .optional(),
    create: z.boolean().optional(),
  })
  .refine(({ create, intoSchemas }) => create !== true || intoSchemas !== undefined, {
    path: ['create'],
    message: 'tables are made in other schemas only: say which with intoSchemas',
  })
  .refine(({ backupFirst, intoSchemas }) => !backupFirst || intoSchemas === undefined, {
    path: ['backupFirst'],
    message: 'a restore into other schemas changes nothing that an archive would be made of',
  });
const verifyRequest = z.strictObject({
  url,
  allowExtraTables: z.boolean().default(false),
  restoreDrill: z.boolean().default(false),
});

const listQuery = z.strictObject({
  type: z.enum(DAEMON_TYPES).optional(),
  status: z.enum(DAEMON_STATES).optional(),
  ...page,
});

function schemaName(name: string, context: z.core.$RefinementCtx): void {
  const fault = schemaNameFault(name);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
}

@Controller('repo/v1')
export class DaemonsController {
  constructor(
    private readonly daemons: DaemonQueue,
    private readonly streams: StatusStreams,
    private readonly callers: Callers,
    private readonly store: ObjectStore,
    @Inject(SETTINGS) private readonly settings: Settings,
  ) {}

  @Documented(docs.startBackup, { body: nothing })
  @Post('startBackupDaemon')
  startBackup(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    validated(nothing, body);
    return this.start(request, 'BACKUP');
  }

  @Documented(docs.startRestore, { body: restoreRequest })
  @Post('startRestoreDaemon')
  startRestore(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const { url, ...options } = validated(restoreRequest, body);
    this.keepOutOfRepository(options.intoSchemas);
    return this.start(request, 'RESTORE', { ...this.archiveAt(url), ...options });
  }

  @Documented(docs.startVerify, { body: verifyRequest })
  @Post('startVerifyDaemon')
  startVerify(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const { url, ...options } = validated(verifyRequest, body);
    return this.start(request, 'VERIFY', { ...this.archiveAt(url), ...options });
  }

  @Documented(docs.listDaemons, { query: listQuery })
  @Get('daemons')
  list(@Query() query: unknown): Promise<{ daemons: DaemonStatus[]; total: number }> {
    return this.daemons.list(validated(listQuery, query));
  }

  @Documented(docs.showDaemon)
  @Get('daemonStatus/:id')
  async status(@Param('id') id: string): Promise<DaemonStatus> {
    const status = isId(id) ? await this.daemons.status(id) : undefined;
    if (status === undefined) throw noSuchDaemon();
    return status;
  }

  @Documented(docs.followDaemon)
  @Get('daemonStatus/:id/events')
  async events(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const events = this.streams.open(await this.status(id), () => mayStill(request, this.callers));
    // A client that goes while nothing is sent to it.
    reply.raw.once('close', () => events.destroy());
    void reply
      .header('Content-Type', 'text/event-stream')
      .header('Cache-Control', 'no-cache, no-transform')
      .header('X-Accel-Buffering', 'no')
      .send(events);
  }

  @Documented(docs.terminateDaemon)
  @Delete('terminateDaemon/:id')
  @HttpCode(204)
  async terminate(@Param('id') id: string): Promise<void> {
    if (!isId(id) || !(await this.daemons.terminate(id))) throw noSuchDaemon();
  }

  /** With an Idempotency-Key the same call may be sent again and again, and there is one daemon. */
  private start(request: FastifyRequest, type: DaemonType, archive?: ArchiveRequest): Promise<DaemonStatus> {
    const key = idempotencyKey(request);
    const startedBy = request.account?.email ?? '';
    return key === undefined
      ? this.daemons.start(type, startedBy, archive)
      : this.daemons.startOnce(key, type, startedBy, archive);
  }

  /** Tables beside the live ones are no part of the repository, or the next backup would hold them too. */
  private keepOutOfRepository(intoSchemas: Record<string, string> = {}): void {
    const inside = Object.values(intoSchemas).filter((name) =>
      this.settings.repository.schemas.includes(name),
    );
    if (inside.length > 0)
      throw new BadRequestException(
        `intoSchemas: ${inside.join(', ')} is in REPOSITORY_SCHEMAS; choose another schema.`,
      );
  }

  /** Only a key of our own bucket goes on from here, never an address that a client chose. */
  private archiveAt(address: string): { key: string; url: string } {
    try {
      const key = archiveKey(address, this.settings.store);
      return { key, url: this.store.url(key) };
    } catch (error) {
      if (error instanceof Failure) throw new BadRequestException(error.sentence);
      throw error;
    }
  }
}

function noSuchDaemon(): NotFoundException {
  return new NotFoundException('There is no daemon of this id.');
}
