import {
  BadRequestException,
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Param,
  Post,
  Query,
  Req,
  Res,
} from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { KeyScope, DaemonStatus } from '#contracts';
import { Access } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Documented } from '../docs/documented.js';
import { validated } from '../http/validation.js';
import { backupRequest, daemonsQuery, restoreRequest, verifyRequest } from './daemon-requests.js';
import * as docs from './daemons.docs.js';
import { Daemons, shownTo, type Start } from './daemons.js';
import { StatusStreams } from './status-streams.js';

/** The jobs. The paths and messages say daemon, which is the contract with existing clients. */
@Controller('repo/v1')
export class DaemonsController {
  constructor(
    private readonly daemons: Daemons,
    private readonly streams: StatusStreams,
  ) {}

  @Access({ needs: 'start', audit: 'backup.start' })
  @Documented(docs.startBackup, { body: backupRequest })
  @Post('startBackupDaemon')
  async startBackup(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const options = validated(backupRequest, body);
    return shownTo(request, await this.daemons.startBackup(startOf(request), options));
  }

  /** Needs everything, because it replaces all rows of the repository. */
  @Access({ needs: 'everything', audit: 'restore.start' })
  @Documented(docs.startRestore, { body: restoreRequest })
  @Post('startRestoreDaemon')
  async startRestore(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const options = validated(restoreRequest, body);
    return shownTo(request, await this.daemons.startRestore(startOf(request), options));
  }

  @Access({ needs: 'start', needsFor: drill, audit: 'verify.start' })
  @Documented(docs.startVerify, { body: verifyRequest })
  @Post('startVerifyDaemon')
  async startVerify(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const options = validated(verifyRequest, body);
    return shownTo(request, await this.daemons.startVerify(startOf(request), options));
  }

  @Access({ needs: 'read' })
  @Documented(docs.listDaemons, { query: daemonsQuery })
  @Get('daemons')
  async list(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
  ): Promise<{ daemons: DaemonStatus[]; total: number }> {
    const { daemons, total } = await this.daemons.list(validated(daemonsQuery, query));
    return { daemons: daemons.map((daemon) => shownTo(request, daemon)), total };
  }

  @Access({ needs: 'read' })
  @Documented(docs.showDaemon)
  @Get('daemonStatus/:id')
  async status(@Param('id') id: string, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    return shownTo(request, await this.daemons.status(id));
  }

  @Access({ needs: 'read' })
  @Documented(docs.followDaemon)
  @Get('daemonStatus/:id/events')
  async follow(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.streams.send(request, reply, await this.daemons.status(id));
  }

  @Access({ needs: 'start', audit: 'daemon.terminate' })
  @Documented(docs.terminateDaemon)
  @Delete('terminateDaemon/:id')
  @HttpCode(204)
  terminate(@Param('id') id: string): Promise<void> {
    return this.daemons.terminate(id);
  }
}

/** A drill runs code of the archive with the rights of its role, as a restore does. */
function drill(body: unknown): { scope: KeyScope; what: string } | undefined {
  const { level, restoreDrill } = Object(body) as { level?: unknown; restoreDrill?: unknown };
  return level === 'DRILL' || restoreDrill === true
    ? { scope: 'everything', what: 'A restore drill' }
    : undefined;
}

/**
 * Reads the header Idempotency-Key of draft-ietf-httpapi-idempotency-key-header. A call that is repeated with the same
 * key starts one job.
 * @throws BadRequestException
 */
function startOf(request: FastifyRequest): Start {
  const key = request.headers['idempotency-key'];
  if (key !== undefined && !(typeof key === 'string' && /^[\x21-\x7e]{1,255}$/.test(key)))
    throw new BadRequestException(
      'The header Idempotency-Key must have 1 to 255 visible characters, no blanks.',
    );
  return { startedBy: callerOf(request).email, key };
}
