import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { DaemonStatus } from '#contracts';
import { callerOf, mayStill } from '../auth/access.js';
import { Callers } from '../auth/callers.js';
import { Documented } from '../docs/documented.js';
import { validated } from '../http/validated.js';
import { daemonsQuery, restoreRequest, verifyRequest } from './daemon-requests.js';
import * as docs from './daemons.docs.js';
import { Daemons, type Start } from './daemons.js';
import { idempotencyKey } from './idempotency-key.js';
import { sendEvents } from './send-events.js';
import { shownTo } from './shown-to.js';
import { StatusStreams } from './status-streams.js';

const nothing = z.strictObject({});

@Controller('repo/v1')
export class DaemonsController {
  constructor(
    private readonly daemons: Daemons,
    private readonly streams: StatusStreams,
    private readonly callers: Callers,
  ) {}

  @Documented(docs.startBackup, { body: nothing })
  @Post('startBackupDaemon')
  async startBackup(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    validated(nothing, body);
    return shownTo(request, await this.daemons.startBackup(asked(request)));
  }

  @Documented(docs.startRestore, { body: restoreRequest })
  @Post('startRestoreDaemon')
  async startRestore(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const wanted = validated(restoreRequest, body);
    return shownTo(request, await this.daemons.startRestore(asked(request), wanted));
  }

  @Documented(docs.startVerify, { body: verifyRequest })
  @Post('startVerifyDaemon')
  async startVerify(@Body() body: unknown, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    const wanted = validated(verifyRequest, body);
    return shownTo(request, await this.daemons.startVerify(asked(request), wanted));
  }

  @Documented(docs.listDaemons, { query: daemonsQuery })
  @Get('daemons')
  async list(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
  ): Promise<{ daemons: DaemonStatus[]; total: number }> {
    const { daemons, total } = await this.daemons.list(validated(daemonsQuery, query));
    return { daemons: daemons.map((daemon) => shownTo(request, daemon)), total };
  }

  @Documented(docs.showDaemon)
  @Get('daemonStatus/:id')
  async status(@Param('id') id: string, @Req() request: FastifyRequest): Promise<DaemonStatus> {
    return shownTo(request, await this.daemons.status(id));
  }

  @Documented(docs.followDaemon)
  @Get('daemonStatus/:id/events')
  async follow(
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const status = await this.daemons.status(id);
    const listener = {
      mayListen: () => mayStill(request, this.callers),
      show: (each: DaemonStatus) => shownTo(request, each),
    };
    sendEvents(reply, this.streams.open(status, listener));
  }

  @Documented(docs.terminateDaemon)
  @Delete('terminateDaemon/:id')
  @HttpCode(204)
  terminate(@Param('id') id: string): Promise<void> {
    return this.daemons.terminate(id);
  }
}

/** With an Idempotency-Key the same call may be sent again and again, and there is one daemon. */
function asked(request: FastifyRequest): Start {
  return { startedBy: callerOf(request).email, key: idempotencyKey(request) };
}
